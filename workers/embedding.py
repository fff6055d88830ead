"""Changed products into vectors: decode in threads, encode here, write in another thread, all at the same time.

The three go on across the borders of chunks: while the last vectors of one chunk are written and its cursor moves, the
next one is being encoded and the pictures of the one after are read. A chunk counts only when all of it is written.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, Protocol, TypeVar

from encoders.protocol import Encoder, SmallPictures
from kg.catalogue.pictures import Pictures
from kg.errors import BadPicture, JobError, PictureAway, TooLarge
from kg.feed import Change
from kg.regions import split_region
from kg.tracing import adopt, here
from kg.vectors.schema import VECTOR, fit
from workers.metrics import VECTORS
from workers.rows import Item, RegionRule, Row, rows_of
from workers.stages import Stages

__all__ = ["Chunk", "Commit", "Reject", "Rows", "embed_chunks"]

DECODERS = min(8, os.cpu_count() or 2)
ENOUGH = (
    2  # a JPEG may be decoded at this multiple of the size that is needed: the vector hardly differs (cosine .9996)
)
WRITES = 4  # writes that may wait while the next batch is encoded
KEPT = 2000  # rows named in one deletion of what is old
TELLING = 20  # pictures of a chunk from which on a share says something
AWAY = 5  # of fewer that are all out of reach, each may be so for ever: no reason to keep the whole chunk back
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Chunk:
    """Changes in order, the first ones after the revision `before`."""

    before: int
    changes: Sequence[Change]


@dataclass(frozen=True)
class Reject:
    """One instance whose picture could not be read, and why.

    Attributes:
        away: it may be read another time.
        again: it could not be read the last time either.
    """

    product: str
    instance: str
    uri: str
    error: str
    away: bool = False
    again: bool = False

    def json(self) -> dict[str, str]:
        return asdict(self)


class Rows(Protocol):
    """What embedding needs of a vector store, as `kg.vectors.client.VectorStore` has it."""

    def upsert(self, collection: str, rows: Sequence[Row]) -> int: ...

    def delete_products(self, collection: str, ids: Iterable[str], *, keep: Iterable[str] = ()) -> int: ...

    def rows(self, collection: str, product_ids: Iterable[str], fields: Sequence[str]) -> list[dict[str, Any]]: ...


Commit = Callable[[Chunk, Sequence[Reject]], bool]


def embed_chunks(
    chunks: Iterable[Chunk],
    encoder: Encoder,
    vectors: Rows,
    collections: Mapping[str, str],
    pictures: Pictures,
    *,
    batch: int,
    commit: Commit,
    regions: RegionRule | None = None,
    most_unreadable: float = 1.0,
    stages: Stages | None = None,
) -> bool:
    """Bring each kind's collection up to date with these changes, chunk by chunk.

    Vectors of removed products go, and so do those of instances and regions that a product no longer has. Of a picture
    that cannot be read the vector stays that was made of the same content before. Doing it again gives the same rows.

    Args:
        chunks: one following the other.
        encoder: of the generation.
        vectors: where the rows go.
        collections: name of the collection of each kind.
        pictures: reads and decodes them.
        batch: pictures or texts of one forward pass; about two batches of decoded pictures lie in memory.
        commit: called in order, from another thread, with each chunk whose vectors are all written and with what of it
            could not be read; False ends the work: later chunks are not committed.
        regions: the rows that pictures without a box have besides; None for none.
        most_unreadable: largest share of a chunk's pictures, where they are 20 at least, that may be unreadable, 0 … 1;
            below 1, five or more may not all be out of reach either. Those that could not be read the last time do not
            count.
        stages: notes how long each stage takes.

    Returns:
        Whether every chunk was committed.

    Raises:
        JobError: more of a chunk's pictures than that cannot be read; nothing was deleted for it.
        BadVector: the encoder gave something that the collection cannot hold.
        StoreDown: the vector store does not answer.
    """
    clock = stages or Stages()
    small = encoder if isinstance(encoder, SmallPictures) and regions is None else None
    least = ENOUGH * small.side if small else 0

    def opened(task: Item | Chunk) -> Item | Reject | Chunk:
        if isinstance(task, Chunk) or task.kind == "text":
            return task
        uri = task.instance.uri or ""
        try:
            with clock("decode"):
                image = pictures.open(uri, task.instance.box, least=least)
            if small is not None:
                with clock("shrink"):
                    image = small.shrink(image)
            return replace(task, image=image)
        except (BadPicture, TooLarge) as error:
            away, again = isinstance(error, PictureAway), task.instance.rejected
            return Reject(task.change.id, task.instance.id, uri, str(error), away, again)

    with (
        ThreadPoolExecutor(DECODERS, "decode") as decoders,
        # What is written belongs to the task that is traced.
        ThreadPoolExecutor(1, "write", initializer=adopt, initargs=(here(),)) as writer,
    ):
        over = threading.Event()
        writing = _Writing(vectors, collections, writer, clock, over, most_unreadable)
        before: Future[bool] | None = None  # commit of the chunk before the one at hand
        items: list[Item] = []
        for found in _ahead(decoders, opened, _tasks(chunks, list(collections)), 2 * batch):
            other = isinstance(found, Item) and items and found.kind != items[0].kind
            if items and (other or len(items) == batch or isinstance(found, Chunk)):
                if before is not None and before.done() and not before.result():
                    return False  # no need to encode the rest of this chunk
                writing.add(items[0].kind, rows_of(items, encoder, regions, clock))
                items = []
            if isinstance(found, Item):
                items.append(found)
                if found.image is not None:
                    writing.read.add(found.instance.id)
            elif isinstance(found, Reject):
                writing.rejects[found.instance] = found
            else:
                if before is not None and not before.result():
                    return False
                before = writing.finish(found, commit)
                writing = _Writing(vectors, collections, writer, clock, over, most_unreadable)
        return before is None or before.result()


class _Writing:
    """The rows of one chunk on their way into the store; the writer's one thread keeps them in order. Once a chunk was
    not committed (`over`) nothing more is written: another worker may be ahead by then."""

    def __init__(
        self,
        vectors: Rows,
        collections: Mapping[str, str],
        writer: ThreadPoolExecutor,
        stages: Stages,
        over: threading.Event,
        most_unreadable: float,
    ) -> None:
        self.vectors, self.collections, self.writer, self.stages = vectors, collections, writer, stages
        self.over, self.most_unreadable = over, most_unreadable
        self.read: set[str] = set()  # instances whose picture could be read
        self.rejects: dict[str, Reject] = {}
        self.written: dict[str, dict[str, list[str]]] = {kind: {} for kind in collections}  # kind → product → rows
        self.writes: list[Future[None]] = []

    def add(self, kind: str, rows: Sequence[Row]) -> None:
        """Hand over rows; waits where the store is slower than the encoder, and raises what an earlier write met."""
        VECTORS.labels(kind).inc(len(rows))
        for row in rows:
            self.written[kind].setdefault(row["product_id"], []).append(row["instance_id"])
        self.writes.append(self.writer.submit(self._upsert, self.collections[kind], rows))
        if len(self.writes) > WRITES:
            self.writes[-WRITES - 1].result()

    def finish(self, chunk: Chunk, commit: Commit) -> Future[bool]:
        """When all is written: remove what is old, commit."""

        def work() -> bool:
            for write in self.writes:
                write.result()  # done already; what it met keeps the chunk from counting
            if self.over.is_set():
                return False
            committed = False
            try:
                with self.stages("upsert"):
                    self._check()
                    self._carry(chunk.changes)
                    for kind, collection in self.collections.items():
                        for ids, kept in _kept(chunk.changes, self.written[kind]):
                            self.vectors.delete_products(collection, ids, keep=kept)
                with self.stages("graph"):
                    committed = commit(chunk, list(self.rejects.values()))
            finally:
                if not committed:
                    self.over.set()
            return committed

        return self.writer.submit(work)

    def _upsert(self, collection: str, rows: Sequence[Row]) -> None:
        if not self.over.is_set():
            with self.stages("upsert"):
                self.vectors.upsert(collection, rows)

    def _check(self) -> None:
        """Where most pictures cannot be read it is not the pictures: a share is not mounted, a server is away. Then
        what is known of them is not thrown away. Those that are tried again say nothing."""
        bad = [reject for reject in self.rejects.values() if not reject.again]
        if not bad or self.most_unreadable >= 1:
            return
        total = len(self.read | {reject.instance for reject in bad})
        away = total >= AWAY and not self.read and all(reject.away for reject in bad)
        if away or (total >= TELLING and len(bad) > self.most_unreadable * total):
            raise JobError(
                f"{len(bad)} of {total} pictures of one chunk cannot be read (embed_max_unreadable = "
                f"{self.most_unreadable:g}): {bad[0].error}",
                hint="resume the job when they are back; with embed_max_unreadable = 1 it goes on without them",
            )

    def _carry(self, changes: Sequence[Change]) -> None:
        """What cannot be read now may have been read before: a vector of the same content is still right."""
        products = {reject.product for reject in self.rejects.values()}
        changed = {change.id: change.fields for change in changes if change.id in products}
        for kind, collection in self.collections.items():
            if kind == "text" or not changed:
                continue
            rows = [
                {**changed[row["product_id"]], "instance_id": row["instance_id"], VECTOR: row[VECTOR]}
                for row in self.vectors.rows(collection, changed, ("content_hash", VECTOR))
                if self._rejected(row["instance_id"])
                and row["content_hash"] == fit("content_hash", changed[row["product_id"]]["content_hash"])
            ]
            self.vectors.upsert(collection, rows)
            for row in rows:
                self.written[kind].setdefault(row["product_id"], []).append(row["instance_id"])

    def _rejected(self, instance: str) -> bool:
        return instance in self.rejects or split_region(instance)[0] in self.rejects


def _tasks(chunks: Iterable[Chunk], kinds: Sequence[str]) -> Iterator[Item | Chunk]:
    """Everything that is to be encoded, kind by kind; each chunk comes after its items."""
    for chunk in chunks:
        for kind in kinds:
            for change in chunk.changes:
                if kind == "text":
                    found = [i for i in change.instances if i.kind == "text" and change.text]
                else:
                    found = [i for i in change.instances if i.kind == "image" and i.uri]
                if kind == "fused":  # one vector for each product, kept under its first picture
                    found = found[:1]
                yield from (Item(kind, change, instance) for instance in found)
        yield chunk


def _kept(changes: Sequence[Change], written: Mapping[str, Sequence[str]]) -> Iterator[tuple[list[str], list[str]]]:
    """Products with the rows that they have now, in groups that fit into one filter."""
    ids: list[str] = []
    kept: list[str] = []
    for change in changes:
        rows = written.get(change.id, ())
        if ids and len(kept) + len(rows) > KEPT:
            yield ids, kept
            ids, kept = [], []
        ids.append(change.id)
        kept.extend(rows)
    if ids:
        yield ids, kept


def _ahead(pool: ThreadPoolExecutor, work: Callable[[A], B], todo: Iterable[A], n: int) -> Iterator[B]:
    """Results in order, at most `n` of them computed or waiting at a time."""
    rest = iter(todo)
    waiting = deque(pool.submit(work, one) for one in islice(rest, n))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(pool.submit(work, one) for one in islice(rest, 1))
