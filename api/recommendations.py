"""Recommendations: what is like the products that somebody has looked at, or that a picture shows, and what goes with
them. Nothing is stored: who asks says everything in the request, and the log has its path alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from api import planner
from api.clock import Clock
from api.complementing import complementary, path_of, reason_of
from api.diversity import directions, diversified
from api.fusion import Fused, fuse
from api.instance_models import InstancesReply, InstancesRequest
from api.instances import search_instances
from api.lists import EMBED, NO_GENERATION
from api.matching import stored
from api.models import Hit, PathStep
from api.plans import Ask
from api.recommendation_models import (
    InstanceRecommendations,
    Recommendation,
    RecommendationsReply,
    RecommendationsRequest,
    Viewed,
)
from api.results import Listings, hits, listings
from api.search import Searcher
from kg.errors import BadInput, NotFound
from kg.graph.cypher.recommendations import SAME_AS
from kg.graph.driver import Graph
from kg.graph.resolving import selected
from kg.graph.selection import Selection
from kg.stores import Stores
from kg.vectors.generations import Generation

__all__ = ["recommend", "weights_of"]

POOL = 4  # candidates for each place of a list, so that diversity has a choice,
WIDER = 4  # times more where too many of them are listings of the same products,
MOST = 4096  # up to so many
SKEW = timedelta(minutes=1)  # by which the clock of who asks may be ahead


@dataclass(frozen=True)
class Draft:
    """A candidate of a list, best first."""

    id: str
    score: float
    because: str
    reason: str
    scores: Mapping[str, float] = field(default_factory=dict)
    path: tuple[PathStep, ...] = ()


def recommend(
    searcher: Searcher, request: RecommendationsRequest, *, now: datetime | None = None
) -> RecommendationsReply:
    """Two lists, of what is similar and of what is complementary: for all that was looked at, or for each product in
    the picture. A product stands in a list once, by its best listing; what was asked with, and every listing of the
    very same product (SAME_AS), in none.

    Raises:
        NotFound: a product that does not exist, or no generation to compare pictures in.
        BadInput: k above the setting `search_max_k`, a time in the future, or only weights of 0; see
            `api.instances.search_instances` for pictures.
        BadFilter, BadPicture, EncoderMismatch, StoreDown, TooLarge: see there.
    """
    if request.k > (most := searcher.stores.settings.search_max_k):
        raise BadInput(f"k = {request.k}: at most {most} (setting search_max_k)", field="k")
    return _of_viewed(searcher, request, now or datetime.now(UTC)) if request.viewed else _of_picture(searcher, request)


def weights_of(viewed: Sequence[Viewed], half_life_days: float, now: datetime) -> dict[str, float]:
    """Product → how much it counts; they sum to 1, and several looks at one product add up.

    Raises:
        BadInput: a time in the future, or only weights of 0.
    """
    weights: dict[str, float] = {}
    for one in viewed:
        weight = one.weight
        if one.at is not None:
            at = one.at if one.at.tzinfo else one.at.replace(tzinfo=UTC)
            if at > now + SKEW:
                raise BadInput(
                    f"viewed: {one.id!r} was looked at on {at.isoformat()}, in the future (now {now.isoformat()})",
                    field="viewed",
                )
            weight *= 0.5 ** (max((now - at) / timedelta(days=1), 0) / half_life_days)
        weights[one.id] = weights.get(one.id, 0.0) + weight
    total = sum(weights.values())
    if not total > 0:
        raise BadInput("viewed: every weight is 0, or has decayed to it", field="viewed")
    return {id: weight / total for id, weight in weights.items()}


def _of_viewed(searcher: Searcher, request: RecommendationsRequest, now: datetime) -> RecommendationsReply:
    assert request.viewed
    stores, clock = searcher.stores, Clock()
    with clock("select"):
        weights = weights_of(request.viewed, request.half_life_days, now)
        selection = _selection(stores, request)
        excluded = _same(stores.graph, list(weights))
        weights = {id: weight for id, weight in weights.items() if weight > 0}
    generation, stale = searcher.live()
    notes = list(selection.notes)
    drafts: list[Draft] = []
    seen = Listings({}, {}, {})
    if generation is None:
        notes.append(f"nothing similar: {NO_GENERATION}. {EMBED}")
    else:
        with clock("similar"):
            drafts, seen = _enough(
                stores.graph,
                request.k,
                lambda wanted: _alike(stores, generation, stale, weights, selection, excluded, wanted),
            )
        if not drafts:
            notes.append(
                "nothing similar: what was looked at has no vectors in this generation, or all else is left out"
            )
    with clock("complementary"):
        others, more = _enough(
            stores.graph, request.k, lambda wanted: _matching(stores.graph, weights, selection, excluded, wanted)
        )
    with clock("results"):
        seen = seen.joined(more)
        similar = _shown(stores, generation, drafts, seen, request)
        goes_with = _shown(stores, generation, others, seen, request)
    return RecommendationsReply(
        similar=similar,
        complementary=goes_with,
        generation=generation.id if generation else None,
        stale=stale,
        timings_ms=clock.report(),
        notes=tuple(notes),
    )


def _of_picture(searcher: Searcher, request: RecommendationsRequest) -> RecommendationsReply:
    stores, clock = searcher.stores, Clock()
    with clock("select"):
        selection = _selection(stores, request)
    with clock("instances"):
        found = _instances(searcher, request)
    seen_products = [one.hits[0].product.id for one in found.instances if one.hits]
    excluded = _same(stores.graph, seen_products) if seen_products else frozenset()
    generation, _ = searcher.live()
    filtered: Sequence[Sequence[Hit]] = [one.hits for one in found.instances]
    if not selection.everything:
        with clock("similar"):
            asked = request.model_copy(update={"boxes": tuple(one.box for one in found.instances)})
            filtered = [one.hits for one in _instances(searcher, asked, filters=True).instances]
    instances = []
    for one, near in zip(found.instances, filtered, strict=True):
        first = one.hits[0].product if one.hits else None
        own = _same(stores.graph, [first.id]) if first else frozenset()
        alike = [
            Draft(hit.product.id, hit.score, "", hit.reason, hit.scores) for hit in near if hit.product.id not in own
        ]
        others: list[Draft] = []
        more = Listings({}, {}, {})
        if first:
            with clock("complementary"):
                others, more = _enough(
                    stores.graph,
                    request.k,
                    lambda wanted, id=first.id: _matching(stores.graph, {id: 1.0}, selection, excluded, wanted),  # type: ignore[misc]
                )
        with clock("results"):
            seen = listings(stores.graph, [draft.id for draft in alike]).joined(more)
            instances.append(
                InstanceRecommendations(
                    number=one.number,
                    box=one.box,
                    score=one.score,
                    product=first,
                    similar=_shown(stores, generation, alike, seen, request),
                    complementary=_shown(stores, generation, others, seen, request),
                )
            )
    return RecommendationsReply(
        instances=tuple(instances),
        generation=found.generation,
        stale=found.stale,
        timings_ms=clock.report(),
        notes=tuple(dict.fromkeys((*selection.notes, *found.notes))),
    )


def _instances(searcher: Searcher, request: RecommendationsRequest, *, filters: bool = False) -> InstancesReply:
    """What the picture shows; recognised in the whole catalogue, whatever may be recommended."""
    names = ("image", "image_url", "boxes", "limit", "min_score", *(("filters",) if filters else ()))
    given = {name: value for name in names if (value := getattr(request, name)) is not None}
    depth = min(100, POOL * request.k, searcher.stores.settings.search_max_k)
    return search_instances(searcher, InstancesRequest(**given, k=depth, merged_k=1))


def _selection(stores: Stores, request: RecommendationsRequest) -> Selection:
    return selected(stores, request.filters)


def _same(graph: Graph, ids: Sequence[str]) -> frozenset[str]:
    """These products and every listing of the very same ones.

    Raises:
        NotFound: one does not exist.
    """
    rows = graph.read(SAME_AS, ids=list(ids))
    known = {row["id"] for row in rows}
    if unknown := [id for id in ids if id not in known]:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise NotFound(f"viewed: product {unknown[0]!r}{more} does not exist", field="viewed")
    return frozenset(row["same"] for row in rows)


def _enough(graph: Graph, k: int, find: Callable[[int], list[Draft]]) -> tuple[list[Draft], Listings]:
    """Candidates of k different products, as far as there are so many, and their listings.

    Args:
        graph: that is read.
        k: products wanted.
        find: the so many best candidates, or all there are.
    """
    wanted = POOL * k
    while True:
        drafts = find(wanted)
        seen = listings(graph, [draft.id for draft in drafts])
        different = {seen.identity(draft.id) for draft in drafts if draft.id in seen.cards}
        if len(different) >= k or len(drafts) < wanted or wanted >= MOST:
            return drafts, seen
        wanted = min(WIDER * wanted, MOST)


def _alike(
    stores: Stores,
    generation: Generation,
    stale: int,
    weights: Mapping[str, float],
    selection: Selection,
    excluded: frozenset[str],
    wanted: int,
) -> list[Draft]:
    """Near what was looked at: a list for each product and kind of vector, fused by ranks and weights."""
    plan = planner.choose(stores, selection, stale, generation=generation)
    lists, shares = {}, {}
    for kind, collection in generation.collections(stores.vectors.prefix).items():
        vectors = stored(stores, generation, kind, list(weights))  # type: ignore[arg-type]
        if vectors:
            ask = Ask(stores.vectors, collection, tuple(vectors.values()), max(100, wanted), excluded)
            for id, ranked in zip(vectors, planner.run(stores, plan, selection, ask), strict=True):
                lists[f"{kind} {id}"], shares[f"{kind} {id}"] = ranked, weights[id]
    constant = stores.settings.rrf_constant
    fused = fuse(lists, weights=shares, constant=constant)
    drafts = []
    for item in fused[:wanted]:
        best = max(item.scores, key=lambda name: (shares[name] / (constant + item.ranks[name]), name))
        because = best.partition(" ")[2]
        scores = {n.partition(" ")[0]: score for n, score in item.scores.items() if n.partition(" ")[2] == because}
        said = ", ".join(f"{kind} {score:.2f}" for kind, score in scores.items())
        drafts.append(Draft(item.product_id, item.score, because, f"is like {because}: {said}", scores))
    return drafts


def _matching(
    graph: Graph, weights: Mapping[str, float], selection: Selection, excluded: frozenset[str], wanted: int
) -> list[Draft]:
    return [
        Draft(one.id, one.score, one.way.source, reason_of(one), {"graph": round(one.score, 6)}, path_of(one))
        for one in complementary(graph, weights, selection, excluded, wanted)
        if one.way is not None
    ]


def _shown(
    stores: Stores,
    generation: Generation | None,
    drafts: Sequence[Draft],
    seen: Listings,
    request: RecommendationsRequest,
) -> tuple[Recommendation, ...]:
    """The list: each product once, diversified, with what it says of each."""
    first: dict[str, Draft] = {}
    for draft in drafts:
        if draft.id in seen.cards:
            first.setdefault(seen.identity(draft.id), draft)
    kept = [*first.values()]
    if not kept:
        return ()
    order = range(len(kept))
    if generation is not None:
        vectors = directions(stores, generation, [draft.id for draft in kept])
        order = diversified([draft.score for draft in kept], vectors, request.k, request.diversity)  # type: ignore[assignment]
    shown: list[Recommendation] = []
    for at in list(order)[: request.k]:
        draft = kept[at]
        [hit] = hits(seen, [Fused(draft.id, draft.score, {}, {})], {}, Selection())
        shown.append(
            Recommendation(
                rank=len(shown) + 1,
                score=round(draft.score / kept[0].score, 6) if kept[0].score else 0.0,
                product=hit.product,
                offer=hit.offer,
                because=draft.because,
                scores=dict(draft.scores),
                reason=draft.reason,
                path=draft.path,
            )
        )
    return tuple(shown)
