"""A made-up catalogue straight into the stores, by the quickest way that keeps all of the ingest's promises.

The graph gets what `ingest` would make of the same table, by the same statements less those that look for what may be
there already. Each transaction holds whole listings, each chunk of vectors moves the cursor of their generation: what
is loaded is known, and a load that was killed goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kg import feed
from kg.catalogue.writing import Listing, known, put, put_new
from kg.dictionary import Mining
from kg.entities import match_phrases, prune_entities
from kg.errors import BadInput
from kg.graph.cypher.filters import COUNT
from kg.graph.cypher.generations import GENERATION_ADVANCE
from kg.graph.edges import settle
from kg.records import content_hash
from kg.scale.catalogue import Scale
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.states import move
from kg.vectors.switching import promote

__all__ = ["ENCODER", "Loaded", "load"]

ENCODER = "made-up"  # of the generation: there is no checkpoint, only its vectors
CHUNK = 2000  # changes whose vectors count at once

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Loaded:
    """What was loaded in this run, and how long each part took.

    Attributes:
        listings: new in the graph.
        edges: SIMILAR_TO edges written.
        vectors: written.
        generation: that is live now; empty without vectors.
        seconds: of `listings`, `phrases`, `edges`, `vectors`.
    """

    listings: int
    edges: int
    vectors: int
    generation: str
    seconds: dict[str, float]

    @property
    def rows_per_s(self) -> float:
        """Listings into the graph, phrases and all."""
        seconds = self.seconds["listings"] + self.seconds["phrases"]
        return self.listings / seconds if seconds else 0.0


def load(
    stores: Stores, scale: Scale, progress: Progress = lambda what, done, total: None, *, vectors: bool = True
) -> Loaded:
    """Bring the catalogue into stores that hold nothing else; what is there of it already stays.

    Args:
        stores: migrated.
        scale: the catalogue.
        progress: is told what is being done, how far it is, and how far it goes.
        vectors: also a generation with a vector of each listing's text, made live.

    Raises:
        BadInput: the graph holds products of another catalogue.
        StoreDown: a store does not answer; run it again later.
    """
    seconds: dict[str, float] = {}
    started = time.monotonic()

    def took(part: str) -> None:
        seconds[part] = round(time.monotonic() - started - sum(seconds.values()), 3)

    listings = _put(stores, scale, progress)
    took("listings")
    progress("phrases", 0, 1)
    settings = stores.settings
    mining = Mining(settings.mine_phrases, settings.mine_least_df, None, "", renew=False)
    match_phrases(stores.graph, settings.phrase_dictionary, mining=mining, most=settings.entities_per_product)
    prune_entities(stores.graph)
    took("phrases")
    progress("edges", 0, 1)
    edges = settle(stores.graph, scale.edges()).written
    took("edges")
    written, generation = _embed(stores, scale, progress) if vectors else (0, "")
    took("vectors")
    return Loaded(listings, edges, written, generation, seconds)


def _put(stores: Stores, scale: Scale, progress: Progress) -> int:
    """Write the listings that the graph lacks; how many."""
    new = 0
    for number, batch in enumerate(_batches(scale, stores.settings.batch_rows)):
        done = number * stores.settings.batch_rows
        progress("listings", done, scale.listings)
        held = known(stores.graph, [one.product.id for one in batch])
        if not number and not held and stores.graph.read(COUNT)[0]["n"]:
            raise BadInput(
                "the graph holds products of another catalogue", hint="a home of its own: --home DIR, or an empty graph"
            )
        if not held:
            put_new(stores.graph, batch)
            new += len(batch)
        elif missing := [one for one in batch if held.get(one.product.id) != (one.source, one.content)]:
            put(stores.graph, missing)
            new += len(missing)
    progress("listings", scale.listings, scale.listings)
    return new


def _batches(scale: Scale, size: int) -> Iterator[list[Listing]]:
    # The hash of a row without pictures, as the ingest has it.
    hashed = ((product, product.hash) for product in scale.all_products())
    rows = (Listing(product, content_hash([content, []]), content) for product, content in hashed)
    while batch := list(islice(rows, size)):
        yield batch


def _embed(stores: Stores, scale: Scale, progress: Progress) -> tuple[int, str]:
    """Write the vectors of what changed after the generation's cursor, and make it live; how many, and its id."""
    generation = generations.register(
        stores, encoder=ENCODER, fingerprint=scale.key, encoder_path="", dim=scale.dim, kinds=("text",)
    )
    [collection] = generation.collections(stores.vectors.prefix).values()
    shard = lru_cache(2)(scale.vectors)
    cursor, written = generation.cursor, 0
    total = feed.stale(stores.graph, cursor)
    while found := feed.changes(stores.graph, cursor, CHUNK):
        rows = [_row(change, shard, scale) for change in found if change.instances]
        stores.vectors.upsert(collection, rows)
        after = found[-1].revision
        stores.graph.write(GENERATION_ADVANCE, id=generation.id, before=cursor, after=after, now=time.time())
        cursor, written = after, written + len(rows)
        progress("vectors", written, max(total, written))
    if generation.state == "building":
        move(stores.graph, generation.id, "building", "shadow")
    if generations.live_id(stores) != generation.id:
        promote(stores, generation.id, by="scale", reason="a made-up catalogue", force=True)
    return written, generation.id


def _row(change: feed.Change, shard: Callable[[int], NDArray[np.float32]], scale: Scale) -> dict[str, Any]:
    number, row = scale.place(change.id)
    return {**change.fields, "instance_id": f"{change.id}#txt", "vector": shard(number)[row]}
