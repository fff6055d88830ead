"""Which lists a search makes: each part of the question against each kind of vector that suits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from api.fusion import Ranked
from api.given import given_entities
from api.models import SearchRequest
from encoders.protocol import Encoder, entity_encoder
from kg.catalogue.fetch import fetch
from kg.catalogue.pictures import decode
from kg.errors import NotFound, TooLarge
from kg.graph import selection as graph_side
from kg.graph.selection import Selection
from kg.records import Box
from kg.regions import split_region
from kg.settings import InstanceKind, Settings
from kg.stores import Stores
from kg.vectors.generations import Generation, Part

__all__ = ["EMBED", "NO_GENERATION", "VectorList", "compared", "matches", "picture", "vector_lists"]

NO_GENERATION = "no generation is live: there are no vectors to compare"
EMBED = "`skugraph embed` makes them"


@dataclass(frozen=True)
class VectorList:
    """A list to be made for each of `questions`, queries (Q, D) against the collection of one kind."""

    collection: str
    kind: InstanceKind
    questions: tuple[NDArray[np.float32], ...]


def vector_lists(
    stores: Stores, request: SearchRequest, generation: Generation | None, encoder: Callable[[Generation], Encoder]
) -> dict[str, VectorList]:
    """The lists to make, by name: `picture-image`, `text-image`, `text-text`, `pair-fused`, `like-image`, …

    Without a live generation a text makes none (its words are still searched).

    Raises:
        BadPicture, TooLarge: see `picture`.
        NotFound: no such product to be like, it has no vectors, or there is no generation to compare pictures in, or to
            read entities.
        BadInput: entities are given, and the encoder takes none.
    """
    seen = picture(stores.settings, request.image, request.image_url, box=request.box)
    if request.like and not graph_side.members(stores.graph, Selection(), [request.like]):
        raise NotFound(f"no product {request.like!r} to be like", field="like")
    if generation is None:
        if seen or request.like or request.entities:
            raise NotFound(NO_GENERATION, hint=EMBED)
        return {}
    parts: dict[Part, list[NDArray[np.float32]]] = {}
    if seen:
        parts["picture"] = [encoder(generation).encode_images([seen])]
    pair = seen is not None and bool(request.text) and "fused" in generation.kinds
    if request.entities:
        reader, given = entity_encoder(encoder(generation)), [given_entities(request.entities)]
        parts["text"] = [reader.encode_texts([request.text], given)]
        if seen and pair:
            parts["pair"] = [reader.encode_items([seen], [request.text], given)]
    elif request.text:
        parts["text"] = [encoder(generation).encode_texts([request.text])]
        if seen and pair:
            parts["pair"] = [encoder(generation).encode_items([seen], [request.text])]
    return compared(stores, generation, parts) | (_like(stores, request.like, generation) if request.like else {})


def compared(
    stores: Stores, generation: Generation, parts: Mapping[Part, Sequence[NDArray[np.float32]]]
) -> dict[str, VectorList]:
    """Each part of the question against every kind that suits it: `picture-image`, `text-text`, …

    Args:
        stores: where the collections are.
        generation: the one to search.
        parts: `picture`, `text` or `pair` → queries (Q, D) of each question.
    """
    collections = generation.collections(stores.vectors.prefix)
    return {
        f"{part}-{kind}": VectorList(collections[kind], kind, tuple(questions))
        for part, questions in parts.items()
        for kind in generation.suited(part)
    }


def picture(settings: Settings, image: bytes | None, url: str | None, *, box: Box | None = None) -> Image | None:
    """The picture that is asked with, cropped to the box. A fetched one is not kept: it is not the catalogue's.

    Raises:
        BadPicture: it cannot be fetched or decoded, or the box lies outside.
        TooLarge: above the limits of the settings.
    """
    limit, data, name = settings.picture_max_mb * 1e6, image, "of the request"
    if url is not None:
        name, seconds = url, settings.picture_fetch_timeout_s
        data = fetch(name, max_bytes=int(limit), timeout_s=seconds, private=settings.fetch_private)
    if data is None:
        return None
    if len(data) > limit:
        raise TooLarge(f"picture {name}: {len(data) / 1e6:.1f} MB, the limit is {limit / 1e6:g} MB")
    return decode(data, name=name, max_pixels=int(settings.picture_max_megapixels * 1e6), box=box)


def _like(stores: Stores, product: str, generation: Generation) -> dict[str, VectorList]:
    """The stored vectors of a product as queries, each kind among its own. Regions of its pictures are not asked with:
    they may show what stands beside it."""
    lists = {}
    for kind, collection in zip(generation.kinds, generation.collections(stores.vectors.prefix).values(), strict=True):
        found = stores.vectors.fetch(collection, [product])
        whole = [row for row, name in enumerate(found.instance_ids) if split_region(name)[1] is None]
        if whole:
            lists[f"like-{kind}"] = VectorList(collection, kind, (found.vectors[whole],))
    if not lists:
        raise NotFound(f"product {product!r} has no vectors in generation {generation.id} yet", field="like")
    return lists


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
