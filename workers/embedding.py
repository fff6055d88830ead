"""Changed products into vectors: decode in threads, encode here, write in another thread, all at the same time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, TypeVar

from PIL.Image import Image

from encoders.protocol import Encoder
from kg.catalogue.pictures import Pictures
from kg.errors import BadPicture, TooLarge
from kg.feed import Change, Instance
from kg.vectors.client import VectorStore

__all__ = ["Reject", "embed_changes"]

DECODERS = min(8, os.cpu_count() or 2)
T = TypeVar("T")


@dataclass(frozen=True)
class Reject:
    """One instance that has no vector, and why."""

    product: str
    instance: str
    uri: str
    error: str

    def json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Item:
    """What one vector is made of."""

    change: Change
    instance: str
    text: str = ""
    image: Image | None = None


def embed_changes(
    changes: Sequence[Change],
    encoder: Encoder,
    vectors: VectorStore,
    collections: Mapping[str, str],
    pictures: Pictures,
    *,
    batch: int,
) -> list[Reject]:
    """Bring each kind's collection up to date with these changes, and say what could not be read.

    Vectors of removed products go, and so do those of instances that a product no longer has. Doing it again gives the
    same rows. `collections` holds the name of the collection of each kind; `batch` pictures or texts go into one
    forward pass, and about two batches of decoded pictures lie in memory.

    Raises:
        BadVector: the encoder gave something that the collection cannot hold.
        StoreDown: the vector store does not answer.
    """
    rejects: dict[str, Reject] = {}
    with ThreadPoolExecutor(DECODERS, "decode") as decoders, ThreadPoolExecutor(1, "write") as writer:
        for kind, collection in collections.items():
            written: list[str] = []
            writes: list[Future[int]] = []
            for items in _batches(_items(kind, changes, pictures, decoders, rejects, ahead=2 * batch), batch):
                matrix = _ENCODE[kind](encoder, items)
                rows = [
                    {**item.change.fields, "instance_id": item.instance, "vector": vector}
                    for item, vector in zip(items, matrix, strict=True)
                ]
                writes.append(writer.submit(vectors.upsert, collection, rows))
                written += [item.instance for item in items]
            for write in writes:
                write.result()
            vectors.delete_products(collection, [change.id for change in changes], keep=written)
    return list(rejects.values())


def _encode_texts(encoder: Encoder, items: Sequence[Item]) -> Any:
    return encoder.encode_texts([item.text for item in items])


def _encode_images(encoder: Encoder, items: Sequence[Item]) -> Any:
    return encoder.encode_images([item.image for item in items if item.image])


def _encode_fused(encoder: Encoder, items: Sequence[Item]) -> Any:
    return encoder.encode_items([item.image for item in items if item.image], [item.text for item in items])


_ENCODE: dict[str, Callable[[Encoder, Sequence[Item]], Any]] = {
    "image": _encode_images,
    "text": _encode_texts,
    "fused": _encode_fused,
}


def _items(
    kind: str,
    changes: Iterable[Change],
    pictures: Pictures,
    decoders: ThreadPoolExecutor,
    rejects: dict[str, Reject],
    *,
    ahead: int,
) -> Iterator[Item]:
    """Everything of this kind that can be encoded; pictures that cannot be read are added to `rejects`."""
    if kind == "text":
        for change in changes:
            yield from (Item(change, i.id, change.text) for i in change.instances if i.kind == "text" and change.text)
        return
    wanted = [(change, i) for change in changes for i in change.instances if i.kind == "image" and i.uri]
    if kind == "fused":  # one vector for each product, kept under its first picture
        first = {change.id: (change, instance) for change, instance in reversed(wanted)}
        wanted = list(first.values())[::-1]

    def opened(pair: tuple[Change, Instance]) -> Item | Reject:
        change, instance = pair
        try:
            image = pictures.open(instance.uri or "", instance.box)
        except (BadPicture, TooLarge) as error:
            return Reject(change.id, instance.id, instance.uri or "", str(error))
        return Item(change, instance.id, change.text, image)

    for found in _ahead(decoders, opened, wanted, ahead):
        if isinstance(found, Reject):
            rejects[found.instance] = found
        else:
            yield found


def _ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[tuple[Change, Instance]], T],
    todo: Iterable[tuple[Change, Instance]],
    n: int,
) -> Iterator[T]:
    """Results in order, at most `n` of them computed or waiting at a time."""
    rest = iter(todo)
    waiting = deque(pool.submit(work, one) for one in islice(rest, n))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(pool.submit(work, one) for one in islice(rest, 1))


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
