"""Ranked candidates as bytes, and the LMDB files that hold them: nine bytes a candidate, read without a copy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np
import numpy.typing as npt

from models.reasons import Reason

REASONS = tuple(Reason)
_LONGEST_KEY = 500  # LMDB takes 511 bytes
_MAP_GROWTH = 1 << 40  # address space, not disk: the file is as large as its content


@dataclass(frozen=True)
class Ranked:
    """Candidates, best first.

    Attributes:
        items: positions in an item array, int32.
        scores: float32, higher is better.
        reasons: positions in REASONS, uint8.
    """

    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    reasons: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        """How many candidates there are."""
        return len(self.items)


NOBODY = Ranked(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.uint8))


def pack(ranked: Ranked) -> bytes:
    """Write the three arrays one after the other."""
    return ranked.items.astype("<i4").tobytes() + ranked.scores.astype("<f4").tobytes() + ranked.reasons.tobytes()


def unpack(content: bytes) -> Ranked:
    """Read what `pack` wrote."""
    count = len(content) // 9
    return Ranked(
        np.frombuffer(content, "<i4", count),
        np.frombuffer(content, "<f4", count, count * 4),
        np.frombuffer(content, np.uint8, count, count * 8),
    )


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
        self._names = tuple(tables)
        self._store = lmdb.open(str(path), subdir=False, readonly=True, lock=False, max_dbs=len(self._names))
        self._tables = {name: self._store.open_db(name.encode(), create=False) for name in self._names}

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

    def close(self) -> None:
        """Let the file go."""
        self._store.close()
