"""Four ways to the nearest products inside a selection. They differ in cost, never in the answer.

Each takes the queries (Q, D) of one list (the instances of an example product may be several) and gives the k best
products: an instance scores its largest cosine to a query, a product its best instance, equal scores go by product id.
The final scores are computed here, in float64 from the stored vectors, so they do not depend on which plan or build
found the candidates; an engine's own score only says where to cut, with MARGIN to spare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from api.fusion import Ranked, ordered
from kg.vectors.client import VectorStore
from kg.vectors.expressions import isin

__all__ = ["Ask", "attribute", "exact", "ids", "overfetch"]

MAX_HITS = 16_384  # instances that Milvus returns at once
ID_CHUNK = 10_000  # ids of one filter: some 50 ms on either build
EXACT_CHUNK = 2000  # products whose vectors are held at once
MARGIN = 1e-5  # an engine's float32 cosine is nearer than this to ours
DIGITS = 6  # of a score


@dataclass(frozen=True)
class Ask:
    """One list to be made: the `k` products nearest to `queries` (Q, D) in `collection`, without those of `exclude`."""

    vectors: VectorStore
    collection: str
    queries: NDArray[np.float32]
    k: int
    exclude: frozenset[str] = frozenset()


def attribute(ask: Ask, expression: str) -> list[Ranked] | None:
    """Let Milvus filter by what stands beside the vectors; None as `overfetch`."""
    found = _widened(ask, expression, lambda ids: ids)
    return None if found is None else exact(ask, found)


def overfetch(ask: Ask, members: Callable[[set[str]], set[str]]) -> list[Ranked] | None:
    """Search without a filter and keep the `members`, more and more until k are settled.

    Returns:
        The answer, or None where even the largest request leaves it open: too few members among the nearest 16,384
        instances, too many equal scores, or hits that an index lost. `ids` always settles it.
    """
    found = _widened(ask, "", members)
    return None if found is None else exact(ask, found)


def ids(ask: Ask, product_ids: Iterable[str]) -> list[Ranked]:
    """Search inside lists of ids, each short enough for one request; a list that stays open is halved."""
    found: dict[str, float] = {}
    huge: list[str] = []  # products of more than 16,384 instances, which no request holds: they are scored anyway
    for chunk in _chunks(product_ids, ID_CHUNK):
        waiting = [chunk]
        while waiting:
            part = waiting.pop()
            hits = _widened(ask, isin("product_id", part), lambda ids: ids)
            if hits is not None:
                found = _best(found | hits, ask.k)
            elif len(part) > 1:
                waiting += [part[: len(part) // 2], part[len(part) // 2 :]]
            else:
                huge += part
    return exact(ask, [*found, *huge])


def exact(ask: Ask, product_ids: Iterable[str]) -> list[Ranked]:
    """Fetch the vectors of these products and score every one."""
    best: list[Ranked] = []
    for chunk in _chunks(product_ids, EXACT_CHUNK):
        best = ordered(best + _scored(ask, chunk))[: ask.k]
    return best


def _widened(ask: Ask, where: str, keep: Callable[[set[str]], set[str]]) -> dict[str, float] | None:
    """Products with the engine's score, all that can be among the k best; None where that cannot be told.

    It can be told once k kept products score above everything not seen yet, or once nothing is left to be seen.
    """
    limit = min(MAX_HITS, 2 * (ask.k + len(ask.exclude)) + 32)
    judged: set[str] = set(ask.exclude)
    kept: set[str] = set()
    while True:
        lists = ask.vectors.search(ask.collection, ask.queries, limit, where)
        scores: dict[str, float] = {}
        for hit in (hit for hits in lists for hit in hits):
            scores[hit.product_id] = max(hit.score, scores.get(hit.product_id, -np.inf))
        fresh = scores.keys() - judged
        judged |= fresh
        kept |= keep(set(fresh)) if fresh else set()
        found = {product: score for product, score in scores.items() if product in kept}
        unseen = max((hits[-1].score for hits in lists if len(hits) >= limit), default=-np.inf)
        if len(found) >= ask.k and sorted(found.values())[-ask.k] > unseen + MARGIN:
            return _best(found, ask.k)
        if unseen == -np.inf and _exhausted(ask, where, lists):
            return found
        if limit == MAX_HITS:
            return None
        limit = min(MAX_HITS, 4 * limit)


def _exhausted(ask: Ask, where: str, lists: Sequence[Sequence[object]]) -> bool:
    """A list shorter than asked for holds all there is, on Lite; an index of a server may have lost some on the way."""
    if ask.vectors.engine == "milvus_lite":
        return True
    return min(map(len, lists), default=0) >= ask.vectors.count(ask.collection, where)


def _best(found: dict[str, float], k: int) -> dict[str, float]:
    """Those that can be among the k best when scored exactly."""
    if len(found) <= k:
        return found
    cut = sorted(found.values())[-k] - 2 * MARGIN
    return {product: score for product, score in found.items() if score >= cut}


def _scored(ask: Ask, product_ids: Sequence[str]) -> list[Ranked]:
    """Every one of these products that has vectors, exactly scored, in no order."""
    fetched = ask.vectors.fetch(ask.collection, [i for i in product_ids if i not in ask.exclude])
    best: dict[str, Ranked] = {}
    scores = _cosines(ask.queries, fetched.vectors)
    for instance, product, score in zip(fetched.instance_ids, fetched.product_ids, scores.tolist(), strict=True):
        old = best.get(product)
        if old is None or (-score, instance) < (-old.score, old.instance_id):
            best[product] = Ranked(product, instance, score)
    return list(best.values())


def _cosines(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Largest cosine to a query for each of the vectors: (Q, D), (N, D) -> (N,).

    Each row is summed by itself, not in a matrix product, whose sums differ with the shape of the whole.
    """
    unit = [v / np.sqrt((v * v).sum(axis=1, keepdims=True)) for v in (queries.astype(float), vectors.astype(float))]
    each = [(unit[1] * query).sum(axis=1) for query in unit[0]]
    return np.round(np.max(each, axis=0), DIGITS) if each else np.zeros(len(vectors))


def _chunks(values: Iterable[str], size: int) -> Iterator[list[str]]:
    source = iter(values)
    while chunk := list(islice(source, size)):
        yield chunk
