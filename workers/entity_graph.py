"""The entity graph out of the stores into arrays: streamed, in one pass over the entities and one over the edges."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from operator import itemgetter

import numpy as np

import encoders
from encoders.graph.data import EntityGraph
from kg.errors import BadInput
from kg.graph.cypher.graph_encoder import ENTITY_EDGES, ENTITY_NODES
from kg.stores import Stores
from workers.text_vectors import entity_texts

__all__ = ["export"]

TEXTS = 2048  # embedded at a time


def export(stores: Stores, on_progress: Callable[[int, int], None] | None = None) -> EntityGraph:
    """Every entity with the vector of its text, and every similarity edge, as they are now.

    In memory lie the keys, 1.5 kB of features an entity and 21 bytes an edge. An edge whose entity came or went while
    the graph was being read is left out.

    Args:
        stores: of these, the graph is read.
        on_progress: called with how many of how many texts have a vector, while there are some without.

    Raises:
        BadInput: there is no entity, or an edge has a weight that is no number.
    """
    entities = sorted(stores.graph.stream(ENTITY_NODES), key=itemgetter("key"))
    places = {entity["key"]: at for at, entity in enumerate(entities)}
    ends, weights, sources, names = array("q"), array("f"), array("b"), {}  # type: ignore[var-annotated]
    for edge in stores.graph.stream(ENTITY_EDGES):
        if edge["a"] not in places or edge["b"] not in places:
            continue
        if edge["weight"] is None:
            raise BadInput(
                f"the edge between {edge['a']!r} and {edge['b']!r} has no weight",
                hint="`skugraph relate` computes the edges anew",
            )
        ends.extend((places[edge["a"]], places[edge["b"]]))
        weights.append(edge["weight"])
        sources.append(names.setdefault(edge["source"] or "", len(names)))
    texts = [entity["text"] or "" for entity in entities]
    kept = entity_texts(stores.home)
    missing = kept.missing(texts)
    for start in range(0, len(missing), TEXTS):
        part = missing[start : start + TEXTS]
        kept.add(part, encoders.text_vectors(part, device=stores.settings.device))
        if on_progress is not None:
            on_progress(len(texts) - len(missing) + start + len(part), len(texts))
    order = sorted(names, key=str)  # whatever order the edges came in
    renamed = np.array([order.index(name) for name in names], np.int8)
    return EntityGraph(
        [entity["key"] for entity in entities],
        [entity["type"] or entity["key"].partition(":")[0] for entity in entities],
        kept.matrix(texts),
        np.array(ends, np.int64).reshape(-1, 2).T,
        np.array(weights, np.float32),
        renamed[np.array(sources, np.int64)] if names else np.empty(0, np.int8),
        tuple(order),
    )
