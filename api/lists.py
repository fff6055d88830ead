"""Which lists a search makes: each part of the question against each kind of vector that suits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from api.encoding import Wish
from api.fusion import Ranked
from api.given import given_entities
from api.models import SearchRequest
from kg.catalogue.fetch import fetch
from kg.catalogue.pictures import decode
from kg.errors import BadInput, TooLarge
from kg.records import Box
from kg.regions import split_region
from kg.settings import InstanceKind, Settings
from kg.stores import Stores
from kg.vectors.generations import Generation, Part

__all__ = [
    "EMBED",
    "NO_GENERATION",
    "VectorList",
    "compared",
    "like_lists",
    "likes",
    "matches",
    "picture",
    "picture_bytes",
    "wishes",
]

NO_GENERATION = "no generation is live: there are no vectors to compare"
EMBED = "`skugraph embed` makes them"
NAME = "of the request"  # of a picture that came with it


@dataclass(frozen=True)
class VectorList:
    """A list to be made for each of `questions`, queries (Q, D) against the collection of one kind."""

    collection: str
    kind: InstanceKind
    questions: tuple[NDArray[np.float32], ...]


def wishes(settings: Settings, request: SearchRequest, generation: Generation) -> dict[Part, Wish]:
    """What of the question has to be embedded: its picture, its text, and both as a pair where the generation keeps
    vectors of pairs.

    Raises:
        BadPicture: it cannot be fetched.
        TooLarge: above the limit of the settings.
    """
    data = picture_bytes(settings, request.image, request.image_url)
    entities = tuple(given_entities(request.entities)) if request.entities else None
    name = request.image_url or NAME
    parts: dict[Part, Wish] = {}
    if data is not None:
        parts["picture"] = Wish("picture", image=data, box=request.box, name=name)
    if request.text:
        parts["text"] = Wish("text", request.text, entities)
    if data is not None and request.text and "fused" in generation.kinds:
        parts["pair"] = Wish("pair", request.text, entities, data, request.box, name)
    return parts


def compared(
    stores: Stores,
    generation: Generation,
    parts: Mapping[Part, Sequence[NDArray[np.float32]]],
    kinds: Sequence[InstanceKind] = (),
) -> dict[str, VectorList]:
    """Each part of the question against every kind that suits it: `picture-image`, `text-text`, …

    Args:
        stores: where the collections are.
        generation: the one to search.
        parts: `picture`, `text` or `pair` → queries (Q, D) of each question.
        kinds: compare each part with these instead.

    Raises:
        BadInput: the generation does not keep one of `kinds`.
    """
    if unknown := [kind for kind in kinds if kind not in generation.kinds]:
        raise BadInput(
            f"vectors: generation {generation.id} keeps {', '.join(generation.kinds)}, not {unknown[0]}",
            hint="the setting embed_kinds says what is kept; `skugraph reembed` makes a generation with more",
            field="vectors",
        )
    collections = generation.collections(stores.vectors.prefix)
    return {
        f"{part}-{kind}": VectorList(collections[kind], kind, tuple(questions))
        for part, questions in parts.items()
        for kind in dict.fromkeys(kinds or generation.suited(part))
    }


def picture(settings: Settings, image: bytes | None, url: str | None, *, box: Box | None = None) -> Image | None:
    """The picture that is asked with, cropped to the box. A fetched one is not kept: it is not the catalogue's.

    Raises:
        BadPicture: it cannot be fetched or decoded, or the box lies outside.
        TooLarge: above the limits of the settings.
    """
    data = picture_bytes(settings, image, url)
    if data is None:
        return None
    return decode(data, name=url or NAME, max_pixels=int(settings.picture_max_megapixels * 1e6), box=box)


def picture_bytes(settings: Settings, image: bytes | None, url: str | None) -> bytes | None:
    """The file of that picture.

    Raises:
        BadPicture: it cannot be fetched.
        TooLarge: above the limit of the settings.
    """
    limit, data = settings.picture_max_mb * 1e6, image
    if url is not None:
        seconds = settings.picture_fetch_timeout_s
        data = fetch(url, max_bytes=int(limit), timeout_s=seconds, private=settings.fetch_private)
    if data is not None and len(data) > limit:
        raise TooLarge(f"picture {url or NAME}: {len(data) / 1e6:.1f} MB, the limit is {limit / 1e6:g} MB")
    return data


def likes(
    stores: Stores, products: Sequence[str], generation: Generation
) -> dict[str, dict[InstanceKind, NDArray[np.float32]]]:
    """The stored vectors (Q, D) of products by kind, those that have any. Regions of their pictures are not asked with:
    they may show what stands beside them."""
    found: dict[str, dict[InstanceKind, NDArray[np.float32]]] = {}
    for kind, collection in zip(generation.kinds, generation.collections(stores.vectors.prefix).values(), strict=True):
        fetched = stores.vectors.fetch(collection, products)
        rows: dict[str, list[int]] = {}
        for row, (name, owner) in enumerate(zip(fetched.instance_ids, fetched.product_ids, strict=True)):
            if split_region(name)[1] is None:
                rows.setdefault(owner, []).append(row)
        for owner, own in rows.items():
            found.setdefault(owner, {})[kind] = fetched.vectors[own]
    return found


def like_lists(
    stores: Stores,
    generation: Generation,
    vectors: Mapping[InstanceKind, NDArray[np.float32]],
    kinds: Sequence[InstanceKind] = (),
) -> dict[str, VectorList]:
    """`like-image`, …: the vectors of a product, each kind among its own."""
    collections = generation.collections(stores.vectors.prefix)
    return {
        f"like-{kind}": VectorList(collections[kind], kind, (queries,))
        for kind, queries in vectors.items()
        if not kinds or kind in kinds
    }


def matches(
    ranked: Mapping[str, Sequence[Ranked]], kinds: Mapping[str, InstanceKind]
) -> dict[str, tuple[str, InstanceKind]]:
    """Product → the instance to show and the kind of its vector: of the list that ranks it best, pictures first.

    Args:
        ranked: name → list.
        kinds: name → kind of its vectors; lists without one (`lexical`) match no instance.
    """
    best: dict[str, tuple[tuple[bool, int], str, InstanceKind]] = {}
    for name, kind in kinds.items():
        for rank, item in enumerate(ranked[name]):
            key = (kind == "text", rank)
            if item.product_id not in best or key < best[item.product_id][0]:
                best[item.product_id] = (key, item.instance_id, kind)
    return {product: (instance, kind) for product, (_, instance, kind) in best.items()}
