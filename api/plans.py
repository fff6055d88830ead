"""Five ways to the nearest products inside a selection. They differ in cost, never in the answer.

Several questions of one collection (the instances in one picture) are asked together, each gets a list of its own. A
question is queries (Q, D): the instances of an example product may be several. Each list has the k best products: an
instance scores its largest cosine to a query, a product its best instance, equal scores go by product id. The final
scores are computed here, in float64 from the stored vectors, so they do not depend on which plan or build found the
candidates, nor on what was asked beside them; an engine's own score only says where to cut, with MARGIN to spare.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from api.fusion import Ranked, ordered
from kg.vectors.client import Fetched, VectorHit, VectorStore
from kg.vectors.expressions import isin

__all__ = ["Ask", "Candidates", "attribute", "exact", "ids", "overfetch", "resident"]

MAX_HITS = 16_384  # instances that Milvus returns at once for one query
MAX_ANSWER = 4 * MAX_HITS  # and for all queries of a request, so that an answer stays below the wire limit
ID_CHUNK = 10_000  # ids of one filter: some 50 ms on either build
EXACT_CHUNK = 2000  # products whose vectors are held at once
MARGIN = 1e-5  # an engine's float32 cosine is nearer than this to ours
DIGITS = 6  # of a score


Found = dict[str, float]  # product → the engine's score


@dataclass(frozen=True)
class Ask:
    """Lists to be made: for each of `questions` (Q, D) the `k` nearest products in `collection`, without those of
    `exclude`."""

    vectors: VectorStore
    collection: str
    questions: tuple[NDArray[np.float32], ...]
    k: int
    exclude: frozenset[str] = frozenset()


def attribute(ask: Ask, expression: str) -> list[list[Ranked]] | None:
    """Let Milvus filter by what stands beside the vectors; None as `overfetch`."""
    return _settled(ask, _widened(ask, expression, lambda ids: ids))


def overfetch(ask: Ask, members: Callable[[set[str]], set[str]]) -> list[list[Ranked]] | None:
    """Search without a filter and keep the `members`, more and more until k are settled.

    Returns:
        The answers, or None where even the largest request leaves one open: too few members among the nearest 16,384
        instances, too many equal scores, or hits that an index lost. `ids` always settles it.
    """
    return _settled(ask, _widened(ask, "", members))


def _settled(ask: Ask, found: Sequence[Found | None]) -> list[list[Ranked]] | None:
    known = [one for one in found if one is not None]
    return _rescored(ask, [one.keys() for one in known]) if len(known) == len(found) else None


def ids(ask: Ask, product_ids: Iterable[str]) -> list[list[Ranked]]:
    """Search inside lists of ids, each short enough for one request; a list that stays open is halved."""
    found: list[Found] = [{} for _ in ask.questions]
    huge: set[str] = set()  # products of more than 16,384 instances, which no request holds: they are scored anyway
    for chunk in _chunks(product_ids, ID_CHUNK):
        waiting = [(chunk, list(range(len(ask.questions))))]
        while waiting:
            part, asked = waiting.pop()
            hits = _widened(_only(ask, asked), isin("product_id", part), lambda ids: ids)
            still = [at for at, one in zip(asked, hits, strict=True) if one is None]
            for at, one in zip(asked, hits, strict=True):
                if one is not None:
                    found[at] = _best(found[at] | one, ask.k)
            if still and len(part) > 1:
                waiting += [(part[: len(part) // 2], still), (part[len(part) // 2 :], still)]
            elif still:
                huge |= set(part)
    return _rescored(ask, [one.keys() | huge for one in found])


def exact(ask: Ask, product_ids: Iterable[str]) -> list[list[Ranked]]:
    """Fetch the vectors of these products and score every one."""
    best: list[list[Ranked]] = [[] for _ in ask.questions]
    for chunk in _chunks(product_ids, EXACT_CHUNK):
        fetched = ask.vectors.fetch(ask.collection, [id for id in chunk if id not in ask.exclude])
        for at, queries in enumerate(ask.questions):
            best[at] = ordered(best[at] + _scored(queries, fetched))[: ask.k]
    return best


class Candidates(Protocol):
    """Rows that are near by, whatever they come from."""

    def candidates(
        self, collection: str, questions: Sequence[NDArray[np.float32]], k: int, exclude: frozenset[str]
    ) -> Iterator[tuple[int, Fetched]]:
        """As `kg.vectors.resident_view.Inside` has them."""
        ...


def resident(ask: Ask, inside: Candidates) -> list[list[Ranked]]:
    """Score everything that the selection admits in the copy beside this process. It keeps the vectors as they are
    stored, so the final scores are those of every other plan."""
    best: list[list[Ranked]] = [[] for _ in ask.questions]
    for at, part in inside.candidates(ask.collection, ask.questions, ask.k, ask.exclude):
        best[at] = ordered(best[at] + _scored(ask.questions[at], part))[: ask.k]
    return best


def _rescored(ask: Ask, found: Sequence[Set[str]]) -> list[list[Ranked]]:
    """Each question's candidates, scored from their stored vectors, which are fetched once for all."""
    best: list[list[Ranked]] = [[] for _ in ask.questions]
    for chunk in _chunks(sorted(set().union(*found) - ask.exclude), EXACT_CHUNK):
        fetched = ask.vectors.fetch(ask.collection, chunk)
        for at, (queries, own) in enumerate(zip(ask.questions, found, strict=True)):
            best[at] = ordered(best[at] + _scored(queries, _part(fetched, own)))[: ask.k]
    return best


def _only(ask: Ask, which: Sequence[int]) -> Ask:
    return replace(ask, questions=tuple(ask.questions[at] for at in which))


def _widened(ask: Ask, where: str, keep: Callable[[set[str]], set[str]]) -> list[Found | None]:
    """For each question the products with the engine's score, all that can be among the k best; None where that cannot
    be told.

    It can be told once k kept products score above everything not seen yet, or once nothing is left to be seen.
    """
    limit = min(MAX_HITS, 2 * (ask.k + len(ask.exclude)) + 32)
    judged: set[str] = set(ask.exclude)
    kept: set[str] = set()
    answers: list[Found | None] = [None] * len(ask.questions)
    waiting = list(range(len(ask.questions)))
    while waiting:
        seen = _nearest(ask, [ask.questions[at] for at in waiting], limit, where)
        fresh = {hit.product_id for lists in seen for hits in lists for hit in hits} - judged
        judged |= fresh
        kept |= keep(set(fresh)) if fresh else set()
        still = []
        for at, lists in zip(waiting, seen, strict=True):
            found: Found = {}
            for hit in (hit for hits in lists for hit in hits if hit.product_id in kept):
                found[hit.product_id] = max(hit.score, found.get(hit.product_id, -np.inf))
            unseen = max((hits[-1].score for hits in lists if len(hits) >= limit), default=-np.inf)
            if len(found) >= ask.k and sorted(found.values())[-ask.k] > unseen + MARGIN:
                answers[at] = _best(found, ask.k)
            elif unseen == -np.inf and _exhausted(ask, where, lists):
                answers[at] = found
            else:
                still.append(at)
        if limit == MAX_HITS:
            break
        waiting, limit = still, min(MAX_HITS, 4 * limit)
    return answers


def _nearest(ask: Ask, questions: Sequence[NDArray[np.float32]], limit: int, where: str) -> list[list[list[VectorHit]]]:
    """The nearest instances to each query of each question, many queries in one request."""
    stacked = np.concatenate(questions)
    step = max(1, MAX_ANSWER // limit)
    lists: list[list[VectorHit]] = []
    for start in range(0, len(stacked), step):
        lists += ask.vectors.search(ask.collection, stacked[start : start + step], limit, where)
    hits = iter(lists)
    return [list(islice(hits, len(queries))) for queries in questions]


def _exhausted(ask: Ask, where: str, lists: Sequence[Sequence[object]]) -> bool:
    """A list shorter than asked for holds all there is, on Lite; an index of a server may have lost some on the way."""
    if ask.vectors.engine == "milvus_lite":
        return True
    return min(map(len, lists), default=0) >= ask.vectors.count(ask.collection, where)


def _best(found: Found, k: int) -> Found:
    """Those that can be among the k best when scored exactly."""
    if len(found) <= k:
        return found
    cut = sorted(found.values())[-k] - 2 * MARGIN
    return {product: score for product, score in found.items() if score >= cut}


def _part(fetched: Fetched, products: Container[str]) -> Fetched:
    rows = [row for row, product in enumerate(fetched.product_ids) if product in products]
    names, owners = ([values[row] for row in rows] for values in (fetched.instance_ids, fetched.product_ids))
    return Fetched(names, owners, fetched.vectors[rows])


def _scored(queries: NDArray[np.float32], fetched: Fetched) -> list[Ranked]:
    """Every product that has vectors there, exactly scored, in no order."""
    best: dict[str, Ranked] = {}
    scores = _cosines(queries, fetched.vectors)
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
