"""A fitted value model, kept to be asked again when time has gone on: what it learned, and of what, but of no shopper.

A folder: `trees.txt` and `kinds.txt` (LightGBM's own text), `weights.npz` (arrays of numbers, no pickle) and
`names.json` (by which names the numbers are to be read). What each shopper likes is not in it: that follows from the
history, anew.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from configs.errors import FacingsError
from models.estimators.boosting import Boosting
from models.estimators.calibration import Calibration
from pipelines.offers.value.cycle import Cycle
from pipelines.offers.value.data import ValueData
from pipelines.offers.value.features import NAMES, SHOWN_NAMES, Known
from pipelines.offers.value.model import ValueModel, taste_now
from pipelines.offers.value.others import Others
from pipelines.offers.value.response import Response

Ints = npt.NDArray[np.int64]
FOLDER = "model"
_TREES, _WEIGHTS, _NAMES = {"trees": "trees.txt", "kinds": "kinds.txt"}, "weights.npz", "names.json"
_FORMAT = 1
_PARTS: dict[str, type[Response] | type[Cycle] | type[Others]] = {
    "response": Response, "cycle": Cycle, "others": Others,
}  # fmt: skip


def keep_model(folder: Path, model: ValueModel, *, seed: int) -> None:
    """Write what was learned into a new folder.

    Args:
        folder: is made.
        model: whose parameters are kept.
        seed: by which its taste was sampled.
    """
    folder.mkdir()
    data, known = model.data, model.known
    arrays: dict[str, Any] = {
        f"{part}.{field.name}": np.asarray(getattr(getattr(model, part), field.name))
        for part, kind in _PARTS.items()
        for field in fields(kind)
    }
    arrays |= {} if model.calibration is None else model.calibration.to_arrays()
    arrays["placements"] = model.placements
    np.savez(folder / _WEIGHTS, **arrays)
    for part, name in _TREES.items():
        (folder / name).write_bytes(getattr(model, part).to_array().tobytes())
    names = {
        "format": _FORMAT,
        "told": _told(),
        "seed": seed,
        "log_rate": model.log_rate,
        "trust": model.trust,
        "calibrated": model.calibration is not None,
        "items": data.item_ids.tolist(),
        "categories": data.category_names,
        "places": known.place_names,
    }
    (folder / _NAMES).write_text(json.dumps(names, indent=1))


def kept_model(folder: Path, data: ValueData) -> ValueModel:
    """The model that was kept, at another moment: the same weights, told by what is known now.

    Items and categories are carried over by name: those that came since have no weight of their own. A neighbourhood
    that came since is told as none.

    Args:
        folder: as `keep_model` wrote it.
        data: what is known at the moment.

    Raises:
        FacingsError: it was kept by another version of Facings, or a file is missing or damaged.
    """
    try:
        names = json.loads((folder / _NAMES).read_text())
        if names["format"] != _FORMAT or names["told"] != _told():
            raise FacingsError(
                "The value model was kept by another version of Facings, which told it other things; its odds stay as "
                "they are until the next `facings retrain`."
            )
        with np.load(folder / _WEIGHTS, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        trees = {
            part: Boosting.from_array(np.frombuffer((folder / name).read_bytes(), np.uint8))
            for part, name in _TREES.items()
        }
        response, cycle, others = (
            kind(**{field.name: _plain(arrays[f"{part}.{field.name}"]) for field in fields(kind)})
            for part, kind in _PARTS.items()
        )
        assert isinstance(response, Response) and isinstance(cycle, Cycle) and isinstance(others, Others)
        categories = _numbers(names["categories"], data.category_names)
        known = Known(data, tuple(names["places"]))
        return ValueModel(
            known=known,
            taste=taste_now(known, names["seed"]),
            **trees,
            log_rate=names["log_rate"],
            response=response.carried(categories, _numbers(names["items"], data.item_ids.tolist())),
            calibration=Calibration.from_arrays(arrays) if names["calibrated"] else None,
            trust=names["trust"],
            others=others,
            cycle=cycle.carried(categories),
            placements=arrays["placements"],
        )
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):
        raise FacingsError(
            f"The kept value model in {folder} is missing or damaged; its odds stay as they are until the next "
            "`facings retrain`."
        ) from None


def _told() -> list[str]:
    """What a model is told, by name and order: weights mean nothing to one that is told something else."""
    return [*NAMES, *SHOWN_NAMES, *Response.told()]


def _plain(array: npt.NDArray[Any]) -> Any:
    """A number as one, and an array as it is."""
    return array if array.ndim else array.item()


def _numbers(then: list[str], now: list[str] | tuple[str, ...]) -> Ints:
    """Of each name now, its number then; -1: there was none."""
    number = {name: place for place, name in enumerate(then)}
    return np.array([number.get(name, -1) for name in now], np.int64)
