"""Ranked candidates as bytes, eight or eighteen for each, and the LMDB files that hold them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np
import numpy.typing as npt

from models.reasons import Reason
from state.files import draft_beside

# The order is part of the format: a new reason goes to the end. Four bits hold the place, so there may be 16.
REASONS = tuple(Reason)
REASON_CODES = {str(reason): code for code, reason in enumerate(REASONS)}
_ITEM_BITS = 28
MAX_ITEMS = 1 << _ITEM_BITS
_LONGEST_KEY = 500  # LMDB takes 511 bytes
ODDS = 5
"""Columns of `Ranked.odds`."""
_PLAIN, _EACH = 8, 2  # bytes of a candidate, and of each of its odds
# What was packed with odds ends with a byte that says how many columns they have, which makes its length an odd number.
_COLUMNS = {1: 4, 2: ODDS}
_ODDS_FOLLOW = b"\x02"
_U4, _I4, _F4, _F2 = (np.dtype(kind) for kind in ("<u4", "<i4", "<f4", "<f2"))
_ITEM, _TAG = np.uint32(MAX_ITEMS - 1), np.uint32(_ITEM_BITS)
_MAX_TABLES = 16  # of one file
_MAP_GROWTH = 1 << 40  # address space, not disk: the file is as large as its content


@dataclass(frozen=True)
class Ranked:
    """Candidates, best first.

    Attributes:
        items: positions in an item array, int32.
        scores: float32, higher is better.
        reasons: positions in REASONS, uint8.
        odds: what the value model says of each, float16, shape (n, 5): log-odds that it is bought on a visit where it
            is not shown; where it is shown at its usual price; what each unit of -log(1 - discount) adds to that, not
            negative; the share (-1 to 1) of the profit of added sales that other sales do not lose, now or later; and
            what each unit of -log(1 - discount) brings by other goods, as a share of the profit of one. A row of NaN:
            nothing is known of this one. None: of none.
    """

    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    reasons: npt.NDArray[np.uint8]
    odds: npt.NDArray[np.float16] | None = None

    def __len__(self) -> int:
        """How many candidates there are."""
        return len(self.items)

    def take(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Ranked:
        """Some of them, by position or mask."""
        at = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        odds = None if self.odds is None else self.odds.take(at, axis=0)
        return Ranked(self.items.take(at), self.scores.take(at), self.reasons.take(at), odds)


NOBODY = Ranked(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.uint8))


def pack(ranked: Ranked) -> bytes:
    """Write items and reasons as one array of 32 bits each, then the scores, then the odds where there are any."""
    tagged = ranked.items.astype(_U4, copy=False) | ranked.reasons.astype(_U4) << _TAG
    parts = [tagged.tobytes(), ranked.scores.astype(_F4, copy=False).tobytes()]
    if ranked.odds is not None:
        parts += [ranked.odds.astype(_F2, copy=False).tobytes(), _ODDS_FOLLOW]
    return b"".join(parts)


def unpack(content: bytes) -> Ranked:
    """Read what `pack` wrote."""
    columns = _COLUMNS[content[-1]] if len(content) % 2 else 0
    count = len(content) // (_PLAIN + _EACH * columns)
    tagged = np.frombuffer(content, _U4, count)
    return Ranked(
        (tagged & _ITEM).view(_I4),
        np.frombuffer(content, _F4, count, count * 4),
        (tagged >> _TAG).astype(np.uint8),
        _odds(content, count, columns) if columns else None,
    )


def _odds(content: bytes, count: int, columns: int) -> npt.NDArray[np.float16]:
    """As they were packed; columns that were not known then are 0, which is what was decided by."""
    told = np.frombuffer(content, _F2, count * columns, count * _PLAIN).reshape(count, columns)
    return told if columns == ODDS else np.pad(told, ((0, 0), (0, ODDS - columns)))


def key_of(identifier: str) -> bytes:
    """An id as an LMDB key; one that is too long, or empty, by its hash."""
    raw = identifier.encode()
    return raw if 0 < len(raw) <= _LONGEST_KEY else b"\xff" + hashlib.sha256(raw).digest()


def write_lmdb(path: Path, tables: Mapping[str, Iterable[tuple[bytes, bytes]]]) -> dict[str, int]:
    """Write named tables of sorted or unsorted (key, value) pairs into one new file; return the entries of each."""
    counts = {}
    with lmdb.open(str(path), subdir=False, map_size=_MAP_GROWTH, max_dbs=len(tables), lock=False, sync=False) as store:
        for name, pairs in tables.items():
            table = store.open_db(name.encode())
            with store.begin(write=True, db=table) as transaction:
                cursor = transaction.cursor(db=table)
                cursor.putmulti(list(pairs))
                counts[name] = int(transaction.stat(db=table)["entries"])
        store.sync(True)
    path.with_name(path.name + "-lock").unlink(missing_ok=True)
    return counts


class LmdbFile:
    """Read-only access to the named tables of one file."""

    def __init__(self, path: Path, tables: Iterable[str]) -> None:
        """Open it.

        Raises:
            OSError: there is no such file.
            lmdb.Error: it is damaged, or lacks a table.
        """
        self._closed = False
        self._key, self._store = _share(path)
        try:
            with _SHARING:
                self._tables = {name: self._store.open_db(name.encode(), create=False) for name in tables}
        except lmdb.Error:
            self.close()
            raise

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        with self._store.begin(db=self._tables[table]) as transaction:
            value: bytes | None = transaction.get(key)
        return value

    def get_many(self, table: str, keys: Iterable[bytes]) -> list[bytes | None]:
        """Return the values of several keys within one transaction."""
        with self._store.begin(db=self._tables[table]) as transaction:
            return [transaction.get(key) for key in keys]

    def pairs(self, table: str) -> Iterable[tuple[bytes, bytes]]:
        """Yield all entries in the order of their keys."""
        with self._store.begin(db=self._tables[table]) as transaction:
            yield from transaction.cursor()

    def entries(self) -> dict[str, int]:
        """How many entries each table has."""
        with self._store.begin() as transaction:
            return {name: int(transaction.stat(db=table)["entries"]) for name, table in self._tables.items()}

    def close(self) -> None:
        """Let the file go; a second time does nothing."""
        if not self._closed:
            self._closed = True
            _release(self._key)


def drop_key(path: Path, table: str, key: bytes) -> bool:
    """Write a file of one table anew without this key, so that no free page keeps it; False when it was not there."""
    old = LmdbFile(path, [table])
    try:
        if old.get(table, key) is None:
            return False
        draft = draft_beside(path)
        write_lmdb(draft, {table: [pair for pair in old.pairs(table) if pair[0] != key]})
    finally:
        old.close()
    draft.replace(path)
    return True


# LMDB refuses to open a file that this process has open already: all readers of one file share one environment. A file
# is known by its inode, as the one that takes its place has the same path.
_File = tuple[int, int]
_SHARING = threading.Lock()
_open: dict[_File, tuple[lmdb.Environment, int]] = {}


def _share(path: Path) -> tuple[_File, lmdb.Environment]:
    """Open a file, or the environment that has it open; to be released as often."""
    with _SHARING:
        while True:
            key = _identity(path)
            if key in _open:
                store, readers = _open[key]
                break
            store, readers = lmdb.open(str(path), subdir=False, readonly=True, lock=False, max_dbs=_MAX_TABLES), 0
            if _identity(path) == key:
                break
            store.close()  # another file took its place meanwhile
        _open[key] = store, readers + 1
        return key, store


def _release(key: _File) -> None:
    with _SHARING:
        store, readers = _open.pop(key)
        if readers > 1:
            _open[key] = store, readers - 1
        else:
            store.close()


def _identity(path: Path) -> _File:
    facts = path.stat()
    return facts.st_dev, facts.st_ino


def count_entries(path: Path, tables: Iterable[str]) -> dict[str, int]:
    """How many entries each table of a file has; empty for a file that cannot be read."""
    try:
        store = LmdbFile(path, tables)
    except (OSError, lmdb.Error):
        return {}
    try:
        return store.entries()
    finally:
        store.close()
