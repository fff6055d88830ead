"""Which plan for which selection: the cheapest of those that are right.

| plan | may be taken |
|---|---|
| `browse` | there is nothing to rank by: the products of the selection by id |
| `lexical` | there are words and no live generation: the full-text index alone |
| `resident` | there is a copy of the live generation beside this process, as it is now (`kg.vectors.resident`) |
| `attribute` | Milvus can tell by what stands beside the vectors, and nothing is stale |
| `exact` | up to `exact_max_ids` products; a server's index may lose filtered hits |
| `ids` | up to `ids_max` products, and less than half of the catalogue |
| `overfetch` | always: where it cannot be settled, `ids` over the graph's ids settles it, as it does for `attribute` |

What each costs is estimated by `api.costs`. Products are counted only where that can change the choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from api import plans
from api.costs import Costs, Sizes, costs_of, estimates
from api.fusion import Ranked
from api.models import PlanCost, PlanName, VectorPlan
from api.plans import Ask
from kg.errors import BadInput
from kg.graph import selection as graph_side
from kg.graph.selection import Selection
from kg.stores import Stores
from kg.vectors.filtering import expression
from kg.vectors.generations import Generation
from kg.vectors.resident_view import Inside

__all__ = ["Plan", "choose", "considered", "run"]

LEAVE = "leave the plan to the planner"
K = 100  # products wanted, where it is not said


@dataclass(frozen=True)
class Plan:
    """A decision and its reasons.

    Attributes:
        why: in words.
        expression: what Milvus filters by (`attribute`).
        ids: every product of the selection (`exact`, `ids`).
        candidates: how many products the selection holds, None where it was not counted.
        candidates_exact: False where counting stopped at `candidates`.
        inside: what of the copy is admitted (`resident`).
        refused: plans that would be wrong here, and why.
    """

    name: PlanName
    why: str
    expression: str = ""
    ids: tuple[str, ...] = ()
    candidates: int | None = None
    candidates_exact: bool = True
    inside: Inside | None = None
    refused: Mapping[VectorPlan, str] = field(default_factory=dict)


def choose(
    stores: Stores,
    selection: Selection,
    stale: int,
    *,
    forced: VectorPlan | None = None,
    generation: Generation | None = None,
    k: int = K,
) -> Plan:
    """The plan for this selection.

    Args:
        stores: both stores; the settings `exact_max_ids` and `ids_max` set the bounds.
        selection: the resolved filters.
        stale: changes that the generation has not embedded: while there are any, only the graph is right.
        forced: take this plan. The graph's ids are then read without a bound where it needs them.
        generation: the live one; without it there is no `resident`.
        k: products wanted.

    Raises:
        BadInput: a plan is forced where it would be wrong.
    """
    told = expression(selection)
    obstacle = (
        f"{stale} changes are not embedded yet"
        if stale
        else "Milvus cannot tell this selection by what stands beside the vectors"
        if told is None
        else ""
    )
    refused: dict[VectorPlan, str] = {"attribute": obstacle} if obstacle else {}
    if forced in ("attribute", "overfetch", "exact", "ids"):
        if forced == "attribute" and obstacle:
            raise BadInput(f"plan 'attribute': {obstacle}", hint=LEAVE, field="plan")
        found = tuple(graph_side.ids(stores.graph, selection)) if forced in ("exact", "ids") else None
        return Plan(forced, "asked for", told or "", found or (), None if found is None else len(found))
    inside = _resident(stores, selection, stale, generation)
    if isinstance(inside, str):
        if forced == "resident":
            raise BadInput(f"plan 'resident': {inside}", hint=LEAVE, field="plan")
        refused["resident"] = inside
        return _without_copy(stores, selection, told or "", refused, generation, k)
    if forced == "resident":
        return Plan("resident", "asked for", inside=inside)
    assert generation is not None  # there is a copy of it
    first = generation.first(stores.vectors.prefix)
    size, rows = inside.count(first), inside.view.size(first)
    sizes = Sizes(rows=rows, dim=generation.dim, whole=max(1, inside.view.products(first)), inside=size, k=k)
    refused = {**_bounds(stores, sizes), **refused}
    name = _cheapest(costs_of(stores), sizes, refused)
    if name == "resident":
        return Plan(name, f"{size} products in the copy beside this process", inside=inside, refused=refused)
    return _taken(stores, selection, name, f"{size} products with vectors", told or "", refused)


def _resident(stores: Stores, selection: Selection, stale: int, generation: Generation | None) -> Inside | str:
    if generation is None:
        return "no generation is named"
    view = stores.resident.view(generation, stale)
    return view if isinstance(view, str) else view.inside(selection)


def _without_copy(
    stores: Stores,
    selection: Selection,
    told: str,
    refused: dict[VectorPlan, str],
    generation: Generation | None,
    k: int,
) -> Plan:
    """Counts only where that can change the choice."""
    obstacle = refused.get("attribute", "")
    if selection.everything:
        name: PlanName = "overfetch" if obstacle else "attribute"
        why = "no filter; " + ("the graph checks each hit: " + obstacle if obstacle else "a plain search")
        return Plan(name, why, refused=refused)
    if not obstacle and stores.vectors.engine == "milvus_lite":
        return Plan("attribute", "all that is asked stands beside the vectors", told, refused=refused)
    settings = stores.settings
    few = settings.exact_max_ids
    limit = (few if not obstacle else max(few, settings.ids_max)) + 1
    size = stores.statistics.count(selection, limit)
    whole = stores.statistics.products()
    rows, dim = (_rows(stores, generation), generation.dim) if generation else (whole, 256)
    sizes = Sizes(rows=rows, dim=dim, whole=whole, inside=size, k=k)
    refused = {**_bounds(stores, sizes), **refused}
    name = _cheapest(costs_of(stores), sizes, refused)
    known = size < limit
    why = f"{'' if known else 'at least '}{size} of {whole} products" + (f"; {obstacle}" if obstacle else "")
    return _taken(stores, selection, name, why, told, refused, size, known)


def _bounds(stores: Stores, sizes: Sizes) -> dict[VectorPlan, str]:
    """What the settings and the size of the selection rule out."""
    settings, refused = stores.settings, dict[VectorPlan, str]()
    if sizes.inside > settings.exact_max_ids:
        refused["exact"] = f"more than {settings.exact_max_ids} products (setting exact_max_ids)"
    elif stores.vectors.engine != "milvus_lite":
        refused["attribute"] = "an index may lose hits where few are inside"
    if sizes.inside > settings.ids_max:
        refused["ids"] = f"more than {settings.ids_max} products (setting ids_max)"
    elif 2 * sizes.inside >= sizes.whole:
        refused["ids"] = "half of the catalogue or more"
    return refused


def _rows(stores: Stores, generation: Generation) -> int:
    first = generation.first(stores.vectors.prefix)
    return stores.statistics.rows(first, generation.cursor, lambda: stores.vectors.count(first))


def _cheapest(costs: Costs, sizes: Sizes, refused: Mapping[VectorPlan, str]) -> VectorPlan:
    told = estimates(costs, sizes)
    return min((name for name in told if name not in refused), key=lambda name: told[name])


def _taken(
    stores: Stores,
    selection: Selection,
    name: VectorPlan,
    why: str,
    told: str,
    refused: Mapping[VectorPlan, str],
    size: int | None = None,
    known: bool = True,
) -> Plan:
    found = tuple(graph_side.ids(stores.graph, selection)) if name in ("exact", "ids") else ()
    why = f"{why}: the cheapest of what is right"
    return Plan(name, why, told if name == "attribute" else "", found, size, known, refused=refused)


def considered(stores: Stores, plan: Plan, size: int, generation: Generation, lists: int, k: int) -> list[PlanCost]:
    """Every plan with its estimated cost, the cheapest first.

    Args:
        stores: both stores.
        plan: that was taken.
        size: products inside the filters.
        generation: that is searched.
        lists: of vectors, that the search makes.
        k: products of each.
    """
    whole = stores.statistics.products()
    sizes = Sizes(rows=_rows(stores, generation), dim=generation.dim, whole=whole, inside=size, k=k)
    refused = {**_bounds(stores, sizes), **plan.refused}
    told = estimates(costs_of(stores), sizes)
    return [
        PlanCost(plan=name, estimated_ms=round(lists * told[name], 2), refused=refused.get(name, ""))
        for name in sorted(told, key=lambda name: told[name])
    ]


def run(stores: Stores, plan: Plan, selection: Selection, ask: Ask) -> list[list[Ranked]]:
    """A list for each question, by this plan."""
    answer: list[list[Ranked]] | None = None
    if plan.name == "exact":
        return plans.exact(ask, plan.ids)
    if plan.name == "ids":
        return plans.ids(ask, plan.ids)
    if plan.name == "resident":
        assert plan.inside is not None
        return plans.resident(ask, plan.inside)
    if plan.name == "attribute":
        answer = plans.attribute(ask, plan.expression)
    else:
        answer = plans.overfetch(ask, lambda ids: graph_side.members(stores.graph, selection, ids))
    if answer is None:
        answer = plans.ids(ask, graph_side.stream_ids(stores.graph, selection))
    return answer
