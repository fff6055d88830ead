"""Which ids a file holds: on disk in a private temporary database, so that memory does not grow with the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["Seen"]


class Earlier(NamedTuple):
    line: int
    content: str


class Seen:
    """Ids with the line and content they came with, for one reading of one file. Not for threads."""

    def __init__(self) -> None:
        # The empty name is SQLite's temporary database: a file that is gone when it is closed, however that happens.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE seen (id TEXT PRIMARY KEY, line INT, content TEXT) WITHOUT ROWID")
        self._database.execute("CREATE TABLE absent (id TEXT)")

    def add(self, id: str, line: int, content: str) -> Earlier | None:
        """Note an id; where a row of this id with content came before, that row is returned, and stays.

        Args:
            id: of the row.
            line: that the row starts on.
            content: hash of the row, empty for a row that was refused.
        """
        found = self._database.execute("SELECT line, content FROM seen WHERE id = ?", (id,)).fetchone()
        if found and found[1]:
            return Earlier(*found)
        if found is None or content:
            self._database.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (id, line, content))
        return None

    def absent(self, ids: Iterable[str], size: int) -> Iterator[list[str]]:
        """Those of `ids` that were not seen, in order, in lists of `size`; all of `ids` are read first."""
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT INTO absent SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM seen WHERE id = ?1)", ((id,) for id in ids)
        )
        self._database.execute("COMMIT")
        rows = self._database.execute("SELECT id FROM absent ORDER BY id")
        while batch := rows.fetchmany(size):
            yield [id for (id,) in batch]

    def close(self) -> None:
        self._database.close()
