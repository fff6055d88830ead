"""Sentence vectors of entity texts, kept on disk: a text is encoded once, however often it is related."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from io import BufferedRandom
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kg.home import Home, locked

__all__ = ["TextVectors", "digest", "entity_texts"]

KEY = 16  # bytes of a text's hash
SPARE = 10_000  # vectors that nobody asks for any more, beyond as many as are asked for, are dropped


class TextVectors:
    """Rows of hash and vector in two files that only grow. Processes may share the folder.

    The vector is written before the hash: a row that a kill has cut in two does not count and is written over.

    Args:
        folder: where the files lie; made where there is none.
        width: values of a vector.
    """

    def __init__(self, folder: Path, width: int = 384) -> None:
        self.folder, self.width = folder, width
        self.folder.mkdir(parents=True, exist_ok=True)
        self.hashes, self.values = folder / "texts.hashes", folder / "texts.f32"

    def missing(self, texts: Iterable[str]) -> list[str]:
        """Those that have no vector yet, each once, in their order."""
        with self._alone():
            known = self._rows()
        return [text for text in dict.fromkeys(texts) if digest(text) not in known]

    def add(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Keep the vectors (N, width) of N texts."""
        with self._alone():
            count = self._count()
            with self._opened(self.values) as values, self._opened(self.hashes) as hashes:
                values.seek(count * self.width * 4)
                values.write(np.ascontiguousarray(vectors, np.float32).tobytes())
                values.flush()
                hashes.seek(count * KEY)
                hashes.write(b"".join(map(digest, texts)))
                hashes.truncate()

    def matrix(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (N, width) of N texts that are all known.

        Raises:
            KeyError: one is not.
        """
        with self._alone():  # another process may be trimming: then the rows are no longer those of the hashes
            known = self._rows()
            rows = np.array([known[digest(text)] for text in texts], np.int64)
            if not len(rows):
                return np.empty((0, self.width), np.float32)
            count = max(known.values()) + 1
            return np.asarray(np.memmap(self.values, np.float32, "r", shape=(count, self.width))[rows])

    def trim(self, texts: Iterable[str]) -> None:
        """Drop all but the vectors of these texts, where there are many more."""
        wanted = {digest(text) for text in texts}
        with self._alone():
            known = self._rows()
            if len(known) <= 2 * len(wanted) + SPARE:
                return
            kept = sorted((row, key) for key, row in known.items() if key in wanted)
            vectors = np.memmap(self.values, np.float32, "r", shape=(self._count(), self.width))
            drafts = [path.with_suffix(path.suffix + ".new") for path in (self.values, self.hashes)]
            drafts[0].write_bytes(np.asarray(vectors[[row for row, _ in kept]], np.float32).tobytes())
            drafts[1].write_bytes(b"".join(key for _, key in kept))
            self.hashes.unlink()  # between the two replacements there are no rows rather than wrong ones
            drafts[0].replace(self.values)
            drafts[1].replace(self.hashes)

    def _alone(self) -> AbstractContextManager[None]:
        """Nobody else reads or writes meanwhile."""
        return locked(self.folder / "lock")

    def _count(self) -> int:
        """Whole rows."""
        sizes = [path.stat().st_size if path.exists() else 0 for path in (self.values, self.hashes)]
        return min(sizes[0] // (self.width * 4), sizes[1] // KEY)

    def _rows(self) -> dict[bytes, int]:
        count = self._count()
        data = self.hashes.read_bytes()[: count * KEY] if count else b""
        return {data[start : start + KEY]: start // KEY for start in range(0, len(data), KEY)}

    @staticmethod
    def _opened(path: Path) -> BufferedRandom:
        """For reading and writing in place."""
        path.touch()
        return path.open("r+b")


def digest(text: str) -> bytes:
    """What a text is known by."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:KEY]


def entity_texts(home: Home) -> TextVectors:
    """Those of a home's entities, which all jobs share."""
    return TextVectors(home.cache / "entity-texts")
