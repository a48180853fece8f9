"""Writes that either happened or did not: files and folders appear whole, and one job at a time holds a lock."""

from __future__ import annotations

import ctypes
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import FacingsError


def write_atomic(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Replace `path` by `content` in one step; a reader or a crash sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_beside(path)
    data = content.encode() if isinstance(content, str) else content
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def build_folder(path: Path, build: Callable[[Path], None]) -> None:
    """Let `build` fill a draft folder beside `path`, then give it its name in one step.

    An existing `path` is kept and the draft dropped: folders that are built this way are named by their content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_beside(path)
    draft.mkdir()
    try:
        build(draft)
        sync_files(draft)
        if path.exists():
            shutil.rmtree(draft)
        else:
            draft.rename(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(path.parent)


def replace_folder(path: Path, build: Callable[[Path], None]) -> None:
    """Let `build` fill a draft folder, then put it in the place of the folder `path` in one step.

    Where the file system cannot exchange two names, a crash between two renamings may leave the new folder under its
    draft's name; `path` is then missing, and whoever made it makes it again.
    """
    draft = draft_beside(path)
    draft.mkdir()
    try:
        build(draft)
        sync_files(draft)
        if not _exchange(draft, path):
            old = draft_beside(path)
            path.rename(old)
            draft.rename(path)
            old.rename(draft)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names at once (Linux renameat2 with RENAME_EXCHANGE); false where the system cannot."""
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of <fcntl.h> and <linux/fs.h>
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return int(rename(here, os.fsencode(one), here, os.fsencode(other), swap)) == 0


def draft_beside(path: Path) -> Path:
    """A name for a draft in the same folder, hidden and unique."""
    return path.with_name(f".draft-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def drop_drafts(root: Path) -> None:
    """Remove what killed jobs left half-written anywhere below a folder; call it where no job can be writing there."""
    for left in sorted(root.rglob(".draft-*"), reverse=True):  # those inside others first
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def sync_files(folder: Path) -> None:
    """Make the content of every file below the folder durable."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def exclusive(path: Path, job: str, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path` while a job runs; the lock falls with the process, however it dies.

    Raises:
        FacingsError: another process holds it and `wait` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise FacingsError(
                f"Another {job} is running on {path.parent}; wait until it ends and try again."
            ) from None
        yield
