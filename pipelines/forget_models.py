"""Erase a shopper from trained models and from the tables that runs leave behind."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.base import Recommender
from models.registry import load
from state.files import replace_folder, write_atomic


def forget_in_models(root: Path, shopper_id: str) -> int:
    """Erase a shopper from every model below `root`; return from how many.

    Each model's folder is replaced by one without the shopper in one step; other files in it stay as they are. Safe
    to cut off and to run again.

    Raises:
        FacingsError: a model is damaged; the sentence names it.
    """
    count = 0
    for folder in _models(root):
        if any(_names(path, shopper_id) for path in folder.rglob("shopper_ids.npy")):
            model = load(folder)
            model.forget([shopper_id])
            replace_folder(folder, partial(_rebuild, model, folder))
            count += 1
    return count


def _models(root: Path) -> list[Path]:
    """Folders of trained models; one that is a part of another model is not listed."""
    folders = sorted(header.parent for header in root.rglob("artifact.json"))
    return [folder for folder in folders if not any(other in folder.parents for other in folders)]


def _rebuild(model: Recommender, folder: Path, draft: Path) -> None:
    """Save the model, and take over the files that are not part of it."""
    model.save(draft)
    parts = {header.parent for header in folder.rglob("artifact.json")}
    for file in folder.rglob("*"):
        if file.is_file() and not (file.parent in parts and file.suffix in {".npy", ".json"}):
            target = draft / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())


def forget_in_tables(root: Path, shopper_id: str) -> int:
    """Erase the rows of a shopper from every parquet file below `root` with a column shopper_id; return rows."""
    erased = 0
    for path in sorted(root.rglob("*.parquet")):
        if "shopper_id" not in pq.read_schema(path).names:
            continue
        table = pq.read_table(path)
        kept = table.filter(pc.invert(pc.equal(pc.cast(table["shopper_id"], pa.string()), shopper_id)))
        if kept.num_rows < table.num_rows:
            buffer = pa.BufferOutputStream()
            pq.write_table(kept, buffer)
            write_atomic(path, buffer.getvalue().to_pybytes())
            erased += table.num_rows - kept.num_rows
    return erased


def _names(path: Path, shopper_id: str) -> bool:
    """Tell whether an array of ids holds the shopper, without loading the model."""
    return bool((np.load(path, mmap_mode="r", allow_pickle=False) == shopper_id).any())
