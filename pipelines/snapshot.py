"""What serving reads: immutable snapshots, built beside the current one, checked, and switched to by one pointer.

Two kinds. `shop` comes from the lake alone (items, stock, offers, screens, best-sellers), so that a home that was only
ingested can serve; `slates` comes from a trained model (candidates for each shopper). Formats: shop_snapshot.py and
slates_snapshot.py.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from configs.errors import FacingsError
from configs.home import Home
from configs.settings import Settings
from models.base import Recommender
from pipelines.forget_models import forget_in_models
from pipelines.offers.value.kept import Kept
from pipelines.packed import count_entries, drop_key, key_of
from pipelines.shop_shoppers import FILE as SHOPPERS_FILE
from pipelines.signals.lake.lake import Lake
from pipelines.slates_snapshot import FILE as SLATES_FILE
from pipelines.slates_snapshot import write_slates
from state.files import draft_beside, exclusive, replace_folder, sync_files, sync_folder, write_atomic

Kind = Literal["slates", "shop"]
Progress = Callable[[str], None]
META = "meta.json"
FORMAT_VERSION = 3
_MEND = {"shop": "ingest again, or start `facings serve`, which builds it anew", "slates": "run `facings retrain`"}


def build_slates(
    home: Home,
    model: Recommender,
    *,
    version: str,
    recipe: str,
    candidates: int,
    progress: Progress,
    value: Path | None = None,
) -> str:
    """Build the slates of a trained model beside the current ones; nothing is switched.

    Args:
        home: where snapshots live.
        model: a trained recommender.
        version: its version in the model registry.
        recipe: the recipe's name.
        candidates: how many items to keep for each shopper.
        progress: is told how far it is.
        value: folder of what the value model that was trained beside it tells; None: there is none.

    Returns:
        The snapshot's id, named by its content: the same model gives the same.
    """
    facts = {"model_version": version, "recipe": recipe, "as_of": model.as_of.isoformat()}
    return _build(
        home,
        "slates",
        f"v{version}",
        lambda folder: facts | write_slates(folder, model, candidates, progress, Kept.of(value)),
    )


def build_shop(home: Home, lake: Lake, settings: Settings, *, now: datetime, progress: Progress) -> str:
    """Build the shop's snapshot from the lake; the same lake gives the same id, and then nothing is built.

    Older ones are removed, but for the one in use. One builds at a time, over what killed builds left.

    Raises:
        FacingsError: nothing was ever ingested.
    """
    from pipelines.shop_snapshot import shop_key, write_shop

    if not lake.has("interactions"):
        raise FacingsError("Nothing was ingested into this home yet; run `facings ingest FOLDER` first.")
    del now  # offers, campaigns and stock are judged when they are read
    name, built = shop_key(lake, settings), None
    if _holds(home, "shop", name):
        return name
    with exclusive(home.snapshots / "shop.lock", "build of the shop's snapshot", wait=True):
        for draft in (home.snapshots / "shop").glob(".draft-*"):
            shutil.rmtree(draft)
        while built != name:  # an ingest that ends meanwhile changes what is read: then once more
            built = name
            if not _holds(home, "shop", name):
                _build(home, "shop", name, lambda draft: write_shop(draft, lake, settings, progress), addressed=False)
            name = shop_key(lake, settings)
        prune(home, "shop", keep={name})
    return name


def refresh_shop(home: Home, lake: Lake, settings: Settings, *, now: datetime, progress: Progress) -> str:
    """Let what is served follow the lake: build the shop's snapshot where it is missing or stale, and switch to it.

    Raises:
        FacingsError: nothing was ever ingested.
    """
    from pipelines.offers.budgets.sales import count_lake

    built = build_shop(home, lake, settings, now=now, progress=progress)
    count_lake(settings, lake, now)  # before it is served: what the campaigns have spent
    if built != current(home, "shop"):
        switch(home, "shop", built)
    return built


def current(home: Home, kind: Kind) -> str | None:
    """Return the id of the snapshot that the pointer names; None: none was ever switched to."""
    try:
        return _pointer(home, kind).read_text().strip() or None
    except FileNotFoundError:
        return None


def switch(home: Home, kind: Kind, snapshot_id: str) -> None:
    """Let the pointer name this snapshot: one atomic step, which servers notice by themselves.

    Raises:
        FacingsError: the snapshot is not there or damaged.
    """
    check(home, kind, snapshot_id)
    write_atomic(_pointer(home, kind), snapshot_id + "\n")


def check(home: Home, kind: Kind, snapshot_id: str) -> dict[str, Any]:
    """Verify a snapshot, every file against its checksum and every table against its number of entries.

    Returns:
        Its meta.

    Raises:
        FacingsError: it is not there, damaged, or of another format.
    """
    folder = home.snapshots / kind / snapshot_id
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text())
        if meta["format_version"] != FORMAT_VERSION:
            raise FacingsError(f"Snapshot {folder} is of another version of Facings; {_MEND[kind]}.")
        wrong = [name for name, digest in meta["files"].items() if _digest(folder / name) != digest]
        if not wrong:
            wrong = [name for name, counts in meta["entries"].items() if count_entries(folder / name, counts) != counts]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise FacingsError(f"Snapshot {folder} is missing or damaged; {_MEND[kind]}.") from None
    if wrong:
        raise FacingsError(f"Snapshot {folder}: {', '.join(wrong)} is damaged; {_MEND[kind]}.")
    return meta


def prune(home: Home, kind: Kind, *, keep: Collection[str]) -> None:
    """Remove the snapshots of this kind that are not in `keep`, and never the current one."""
    folder = home.snapshots / kind
    wanted = {*keep, current(home, kind)}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and path.name not in wanted and not path.name.startswith(".draft-"):
            shutil.rmtree(path)


def forget_in_snapshots(home: Home, shopper_id: str, *, drafts: bool = True) -> int:
    """Rewrite every kept snapshot without this shopper; return in how many they stood.

    The new file takes the old one's place in one step and the checksum follows; a run killed in between is mended by
    running it again. Servers notice the change and read the new file. With `drafts`, what killed jobs left half-built
    goes too: only where no job can be building slates; a build of the shop's snapshot is waited for.
    """
    found = sum(_forget_in(folder, SLATES_FILE, shopper_id) for folder in _kept(home, "slates", drafts=drafts))
    if not drafts:
        return found + sum(
            _forget_in(folder, SHOPPERS_FILE, shopper_id) for folder in _kept(home, "shop", drafts=False)
        )
    with exclusive(home.snapshots / "shop.lock", "build of the shop's snapshot", wait=True):
        return found + sum(_forget_in(folder, SHOPPERS_FILE, shopper_id) for folder in _kept(home, "shop", drafts=True))


def _kept(home: Home, kind: Kind, *, drafts: bool) -> Iterator[Path]:
    """Folders of a kind's snapshots; with `drafts`, half-built ones are removed."""
    root = home.snapshots / kind
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if not folder.name.startswith(".draft-"):
            yield folder
        elif drafts:
            shutil.rmtree(folder)


def _forget_in(folder: Path, file: str, shopper_id: str) -> bool:
    """Rewrite one snapshot, whose `file` tells of shoppers, without this one; whether they stood in it."""
    try:
        meta = json.loads((folder / META).read_text())
    except (OSError, ValueError):
        return False  # not a snapshot: nothing reads it
    if file not in meta["entries"]:
        return False  # of an earlier version, in which the shop told of nobody
    (table,) = meta["entries"][file]
    stood = drop_key(folder / file, table, key_of(shopper_id))
    stood = forget_in_models(folder, shopper_id) > 0 or stood
    digests = _digests(folder)
    if stood or digests != meta["files"]:
        meta["files"] = digests
        meta["entries"][file] = count_entries(folder / file, [table])
        if "shoppers" in meta:
            meta["shoppers"] = meta["entries"][file][table]
        write_atomic(folder / META, json.dumps(meta, indent=1, sort_keys=True))
    return stood


def signature(home: Home, kind: Kind) -> tuple[str, int, int] | None:
    """Something that changes when the pointer or the snapshot behind it does; None: nothing to read."""
    name = current(home, kind)
    if name is None:
        return None
    try:
        facts = (home.snapshots / kind / name / META).stat()
    except FileNotFoundError:
        return None
    return name, facts.st_ino, facts.st_mtime_ns


def _build(home: Home, kind: Kind, name: str, fill: Callable[[Path], dict[str, Any]], *, addressed: bool = True) -> str:
    root = home.snapshots / kind
    root.mkdir(parents=True, exist_ok=True)
    draft = draft_beside(root / name)
    draft.mkdir()
    try:
        facts = fill(draft)
        digests = _digests(draft)
        if addressed:
            name = f"{name}-{hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:12]}"
        sync_files(draft)
        meta = {"format_version": FORMAT_VERSION, "kind": kind, "files": digests, **facts}
        write_atomic(draft / META, json.dumps(meta, indent=1, sort_keys=True))
        _take_place(home, kind, draft, name)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(root)
    return name


def _take_place(home: Home, kind: Kind, draft: Path, name: str) -> None:
    """Give a draft its name; a sound snapshot that has it already stays, a damaged one makes way."""
    folder = home.snapshots / kind / name
    try:
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        if _holds(home, kind, name):
            shutil.rmtree(draft)
        else:
            replace_folder(folder, lambda empty: _move(draft, empty))


def _move(folder: Path, to: Path) -> None:
    for path in folder.iterdir():
        path.rename(to / path.name)
    folder.rmdir()


def _holds(home: Home, kind: Kind, name: str) -> bool:
    try:
        check(home, kind, name)
    except FacingsError:
        return False
    return True


def _pointer(home: Home, kind: Kind) -> Path:
    return home.snapshots / f"CURRENT-{kind}"


def _digests(folder: Path) -> dict[str, str]:
    """Checksum of every file but the meta, by its path in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != META)
    return {str(path.relative_to(folder)): _digest(path) for path in files}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
