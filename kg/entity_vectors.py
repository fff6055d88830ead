"""Vectors of entities: a collection of their own for each graph encoder, an alias for the live one, and their age.

`<prefix>_entities_<first ten of the fingerprint>` holds one row an entity, `<prefix>_entities_live` points at the one
to ask. What else is known of a collection stands in the graph. There each entity also says by `vector_at` up to which
change of the similarity edges its vector knows them: whose edges changed later is stale.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kg.errors import BadVector
from kg.graph.cypher import graph_encoder as cypher
from kg.stores import Stores
from kg.vectors.expressions import isin
from kg.vectors.schema import FIELDS, fit

__all__ = ["EntityVectors", "Staleness", "edges_at", "is_stale", "live", "mark", "nearest", "staleness", "write"]

Progress = Callable[[int, int], None]

ROWS = 5000  # of one upsert
CUT = re.compile(r"~[0-9a-f]{16}$")  # how a key ends that was too long for a row
LONGEST = FIELDS["instance_id"].limit


@dataclass(frozen=True)
class EntityVectors:
    """What is known of one collection.

    Attributes:
        collection: its name.
        fingerprint: of the graph encoder.
        encoder_path: folder of its checkpoint, as last written.
        dim: length of a vector.
        edges_at: number of the change of edges that the vectors know.
    """

    collection: str
    fingerprint: str
    encoder_path: str
    dim: int
    edges_at: int


@dataclass(frozen=True)
class Staleness:
    """How far the vectors are behind the graph.

    Attributes:
        entities: in the graph.
        unknown: of these, without a vector.
        changed: of these, with one that does not know their latest edges.
        gone: vectors of entities that are no more.
    """

    entities: int
    unknown: int
    changed: int
    gone: int

    @property
    def stale(self) -> int:
        return self.unknown + self.changed


def live(stores: Stores) -> EntityVectors | None:
    """The collection that `nearest` asks; None before the first is written."""
    name = stores.vectors.alias_target(_alias(stores))
    return _noted(stores, name) if name else None


def nearest(
    stores: Stores, vectors: NDArray[np.float32], *, k: int, types: Sequence[str] = ()
) -> list[list[tuple[str, float]]]:
    """The entities nearest to each of the vectors (M, dim): up to `k` of (key, cosine), best first.

    Where nothing is live, none. An entity may be gone from the graph since: the graph decides.

    Args:
        stores: both.
        vectors: as the live graph encoder's `encode_texts` gives them.
        k: at least 1.
        types: only entities of one of these; empty for all.

    Raises:
        BadVector: another dimension than the live one's, not finite, or zero.
        BadInput: k is out of range.
    """
    name = stores.vectors.alias_target(_alias(stores))
    if name is None:
        return [[] for _ in vectors]
    where = isin("product_id", [fit("product_id", type) for type in types]) if types else ""
    found = stores.vectors.search(name, vectors, k, where)
    whole = _whole(stores, {hit.instance_id for hits in found for hit in hits})
    return [[(whole[hit.instance_id], hit.score) for hit in hits if hit.instance_id in whole] for hits in found]


def write(
    stores: Stores,
    *,
    fingerprint: str,
    encoder_path: str | Path,
    keys: Sequence[str],
    types: Sequence[str],
    vectors: NDArray[np.float32],
    edges_at: int,
    on_progress: Progress | None = None,
) -> EntityVectors:
    """Write all vectors of one graph encoder, let them be live, mark their entities, remove earlier collections.

    Stopped anywhere and called again, the same comes out: the alias moves only when every row is there, and entities
    are marked only after that. An entity that vanished meanwhile is not marked.

    Args:
        stores: both.
        fingerprint: of the graph encoder.
        encoder_path: folder of its checkpoint.
        keys: of N entities, all different.
        types: of each.
        vectors: (N, dim), not zero.
        edges_at: the counter of edges when the graph was exported.
        on_progress: called with how many of how many are written.

    Raises:
        BadVector: shapes that do not fit, or a vector that is zero or not finite.
    """
    if vectors.ndim != 2 or not len(keys) == len(types) == len(vectors):
        raise BadVector(f"{len(keys)} keys, {len(types)} types and vectors {vectors.shape}: one of each for an entity")
    name = f"{stores.vectors.prefix}_entities_{fingerprint[:10]}"
    written = EntityVectors(name, fingerprint, str(encoder_path), vectors.shape[1], edges_at)
    stores.vectors.create(name, written.dim)
    for start in range(0, len(keys), ROWS):
        rows = [
            {"instance_id": fit("instance_id", key), "product_id": fit("product_id", type or "-"), "vector": vector}
            for key, type, vector in zip(*(part[start : start + ROWS] for part in (keys, types, vectors)), strict=True)
        ]
        stores.vectors.upsert(name, rows)
        if on_progress is not None:
            on_progress(min(start + ROWS, len(keys)), len(keys))
    stores.vectors.flush(name)
    values = {"fingerprint": fingerprint, "encoder_path": written.encoder_path, "dim": written.dim}
    stores.graph.write(cypher.VECTORS_NOTE, name=name, values={**values, "edges_at": edges_at})
    stores.vectors.point_alias(_alias(stores), name)
    mark(stores, keys, edges_at)
    for earlier in stores.vectors.collections():
        if earlier.startswith(f"{stores.vectors.prefix}_entities_") and earlier != name:
            stores.vectors.drop(earlier)
    return written


def mark(stores: Stores, keys: Sequence[str], edges_at: int) -> None:
    """Say that the vectors of these entities know the edges up to that change."""
    stores.graph.write_rows(cypher.VECTORS_MARK, ({"key": key} for key in keys), key="key", at=edges_at)


def edges_at(stores: Stores) -> int:
    """Number of the latest change of similarity edges."""
    return int(stores.graph.read(cypher.EDGES_AT)[0]["value"])


def staleness(stores: Stores) -> Staleness | None:
    """How far the live vectors are behind the graph; None where there are none."""
    found = live(stores)
    if found is None:
        return None
    row = stores.graph.read(cypher.VECTORS_STALE)[0]
    entities, unknown, changed = (int(row[name] or 0) for name in ("entities", "unknown", "changed"))
    return Staleness(entities, unknown, changed, max(stores.vectors.count(found.collection) - (entities - unknown), 0))


def is_stale(stores: Stores, key: str) -> bool:
    """Whether an entity has no vector, or one that does not know its latest edges; an unknown key has none."""
    rows = stores.graph.read(cypher.ENTITY_STALE, key=key)
    return not rows or bool(rows[0]["stale"])


def _alias(stores: Stores) -> str:
    return f"{stores.vectors.prefix}_entities_live"


def _noted(stores: Stores, name: str) -> EntityVectors | None:
    rows = stores.graph.read(cypher.VECTORS_NOTED, name=name)
    if not rows:
        return None  # the graph was made anew, the vectors are of an earlier one
    noted = rows[0]["c"]
    return EntityVectors(name, noted["fingerprint"], noted["encoder_path"], noted["dim"], noted["edges_at"])


def _whole(stores: Stores, stored: set[str]) -> dict[str, str]:
    """Keys as rows have them → as they are: those that were cut are looked up by their beginning."""
    cut = {key for key in stored if len(key) == LONGEST and CUT.search(key)}
    whole = {key: key for key in stored - cut}
    for heads in _chunks(sorted({key[: LONGEST - 17] for key in cut}), 100):
        for row in stores.graph.read(cypher.ENTITIES_BY_HEAD, heads=heads):
            if (short := fit("instance_id", row["key"])) in cut:
                whole[short] = row["key"]
    return whole


def _chunks(values: Sequence[str], size: int) -> Iterator[list[str]]:
    return (list(values[start : start + size]) for start in range(0, len(values), size))
