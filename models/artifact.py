"""The file format of a trained model: arrays and JSON in one folder, readable without unpickling anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import FacingsError

FORMAT_VERSION = 1
Arrays = dict[str, npt.NDArray[Any]]


def write_artifact(folder: Path, header: dict[str, Any], arrays: Arrays) -> None:
    """Write `header` as artifact.json and each array as <name>.npy into `folder`, which is made if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects; give it a plain dtype")
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    body = {"format_version": FORMAT_VERSION, **header, "arrays": sorted(arrays)}
    (folder / "artifact.json").write_text(json.dumps(body, indent=1, sort_keys=True))


def read_header(folder: Path) -> dict[str, Any]:
    """Read artifact.json.

    Raises:
        FacingsError: there is none, it is damaged, or a newer version wrote it.
    """
    path = folder / "artifact.json"
    try:
        header = json.loads(path.read_text())
        version = header["format_version"]
    except FileNotFoundError:
        raise FacingsError(f"{folder} holds no trained model; train one with `facings retrain`.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise FacingsError(f"{path} is damaged; train again with `facings retrain`.") from None
    if version != FORMAT_VERSION:
        raise FacingsError(
            f"{path} has format {version}, this version reads {FORMAT_VERSION}; train again with `facings retrain`."
        )
    return dict(header)


def read_arrays(folder: Path, header: dict[str, Any]) -> Arrays:
    """Read the arrays that the header names, memory-mapped and read-only.

    Raises:
        FacingsError: one is missing or damaged.
    """
    arrays: Arrays = {}
    for name in header["arrays"]:
        try:
            arrays[name] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            raise FacingsError(
                f"{folder / name}.npy is missing or damaged; train again with `facings retrain`."
            ) from None
    return arrays
