"""The same queries on two generations: what both find, what only one does, and who has moved how far."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Literal

from pydantic import Field

from api.fusion import Fused
from api.models import Hit, Model
from api.results import hits, listings
from encoders.evaluation.trec import Query
from kg.errors import BadInput
from kg.graph.selection import Selection
from kg.stores import Stores
from kg.vectors import generations
from workers.orders import Use
from workers.shadow import encoder_of, rank

__all__ = ["Diff", "DiffHit", "QueryDiff", "diff"]


class DiffHit(Model):
    """One product of one list."""

    hit: Hit
    other: int | None = Field(description="Its rank in the other list, None where it is not among the k there")


class QueryDiff(Model):
    id: str
    text: str
    overlap: float = Field(description="Share of the k products that both found")
    moved: float = Field(description="Mean difference of the ranks of what both found")
    a: tuple[DiffHit, ...]
    b: tuple[DiffHit, ...]


class Diff(Model):
    """Queries that differ most come first."""

    a: str
    b: str
    k: int
    overlap: float = Field(description="Mean over the queries")
    same_first: float = Field(description="Share of the queries whose first product is the same")
    queries: tuple[QueryDiff, ...]


def diff(stores: Stores, a: str, b: str, queries: Sequence[Query], *, k: int = 10, use: Use = "both") -> Diff:
    """What two generations find by their vectors alone (words find the same in both).

    Args:
        stores: both.
        a: id of a generation, in any state but retired.
        b: of the other.
        queries: what to ask.
        k: products of each list.
        use: part of the queries to ask with.

    Raises:
        NotFound: no such generation.
        BadInput: twice the same one, one that is retired, no queries, or a query that lacks what it is asked with.
        JobError: a checkpoint is gone.
        EncoderMismatch: a checkpoint is not the one that its generation was made with.
    """
    if a == b:
        raise BadInput(f"a = b = {a!r}: two generations are compared")
    if not queries:
        raise BadInput("no queries: at least one is needed to compare")
    both = [generations.get(stores, name) for name in (a, b)]
    for one in both:
        if one.state == "retired":
            raise BadInput(f"generation {one.id} is retired: it has no vectors any more")
    runs = [rank(stores, one, encoder_of(stores, one), queries, use=use, k=k) for one in both]
    shown = listings(stores.graph, sorted({product for run in runs for found in run.values() for product in found}))

    def side(query: str, own: int, other: int) -> tuple[DiffHit, ...]:
        ranks = {product: place for place, product in enumerate(runs[other][query], start=1)}
        found = [Fused(product, score, {}, {}) for product, score in islice(runs[own][query].items(), k)]
        made = hits(shown, found, {}, Selection())
        return tuple(DiffHit(hit=hit, other=ranks.get(hit.product.id)) for hit in made)

    compared = [_compare(query, side(query.id, 0, 1), side(query.id, 1, 0), k) for query in queries]
    first: list[Literal[0, 1]] = [1 if _first(one.a) == _first(one.b) else 0 for one in compared]
    compared.sort(key=lambda one: (one.overlap, -one.moved, one.id))
    return Diff(
        a=a,
        b=b,
        k=k,
        overlap=sum(one.overlap for one in compared) / len(compared),
        same_first=sum(first) / len(first),
        queries=tuple(compared),
    )


def _compare(query: Query, a: tuple[DiffHit, ...], b: tuple[DiffHit, ...], k: int) -> QueryDiff:
    moves = [abs(one.hit.rank - one.other) for one in a if one.other is not None]
    longest = max(len(a), len(b))
    return QueryDiff(
        id=query.id,
        text=query.text,
        overlap=len(moves) / longest if longest else 1.0,
        moved=sum(moves) / len(moves) if moves else 0.0,
        a=a,
        b=b,
    )


def _first(side: tuple[DiffHit, ...]) -> str:
    return side[0].hit.product.id if side else ""
