"""Which plan for which selection.

| plan | when |
|---|---|
| `browse` | there is nothing to rank by: the products of the selection by id |
| `lexical` | there are words and no live generation: the full-text index alone |
| `attribute` | Milvus can tell by what stands beside the vectors, and nothing is stale |
| `exact` | up to `exact_max_ids` products; a server's index may lose filtered hits: there before `attribute` |
| `ids` | up to `ids_max` products, and less than half of the catalogue |
| `overfetch` | more than that: most of what a plain search finds is inside |

Where an attribute or overfetch search cannot be settled, `ids` over the graph's ids settles it.
"""

from __future__ import annotations

from dataclasses import dataclass

from api import plans
from api.fusion import Ranked
from api.models import PlanName, VectorPlan
from api.plans import Ask
from kg.errors import BadInput
from kg.graph import selection as graph_side
from kg.graph.cypher.filters import COUNT
from kg.graph.selection import Selection
from kg.stores import Stores
from kg.vectors.filtering import expression

__all__ = ["Plan", "choose", "run"]


@dataclass(frozen=True)
class Plan:
    """A decision and its reasons.

    Attributes:
        why: in words.
        expression: what Milvus filters by (`attribute`).
        ids: every product of the selection (`exact`, `ids`).
        candidates: how many products the selection holds, None where it was not counted.
        candidates_exact: False where counting stopped at `candidates`.
    """

    name: PlanName
    why: str
    expression: str = ""
    ids: tuple[str, ...] = ()
    candidates: int | None = None
    candidates_exact: bool = True


def choose(stores: Stores, selection: Selection, stale: int, *, forced: VectorPlan | None = None) -> Plan:
    """The plan for this selection.

    Args:
        stores: both stores; the settings `exact_max_ids` and `ids_max` set the bounds.
        selection: the resolved filters.
        stale: changes that the generation has not embedded: while there are any, only the graph is right.
        forced: take this plan. The graph's ids are then read without a bound where it needs them.

    Raises:
        BadInput: `attribute` is forced where it would be wrong.
    """
    told = expression(selection)
    obstacle = (
        f"{stale} changes are not embedded yet"
        if stale
        else "Milvus cannot tell this selection by what stands beside the vectors"
        if told is None
        else ""
    )
    if forced == "attribute" and obstacle:
        raise BadInput(f"plan 'attribute': {obstacle}", hint="leave the plan to the planner", field="plan")
    if forced in ("attribute", "overfetch"):
        return Plan(forced, "asked for", expression=told or "")
    if forced in ("exact", "ids"):
        found = tuple(graph_side.ids(stores.graph, selection))
        return Plan(forced, "asked for", ids=found, candidates=len(found))
    if selection.everything:
        name: PlanName = "overfetch" if stale else "attribute"
        return Plan(name, "no filter; " + ("the graph checks each hit: " + obstacle if stale else "a plain search"))
    lossy = stores.vectors.engine != "milvus_lite"
    if not obstacle and not lossy:
        return Plan("attribute", "all that is asked stands beside the vectors", expression=told or "")
    return _counted(stores, selection, told or "", obstacle)


def _counted(stores: Stores, selection: Selection, told: str, obstacle: str) -> Plan:
    """The plan that depends on how many products there are."""
    settings, graph = stores.settings, stores.graph
    few = settings.exact_max_ids
    limit = (few if not obstacle else max(few, settings.ids_max)) + 1
    size = graph_side.count(graph, selection, limit)
    if size <= few:
        why = f"{size} products: few enough to score each" + (f"; {obstacle}" if obstacle else "")
        return Plan("exact", why, ids=tuple(graph_side.ids(graph, selection)), candidates=size)
    if not obstacle:
        why = f"more than {few} products, and all that is asked stands beside the vectors"
        return Plan("attribute", why, expression=told, candidates=size, candidates_exact=False)
    whole = int(graph.read(COUNT)[0]["n"])
    if size < limit and 2 * size < whole:
        why = f"{size} of {whole} products; {obstacle}"
        return Plan("ids", why, ids=tuple(graph_side.ids(graph, selection)), candidates=size)
    known = size < limit
    why = f"{'' if known else 'at least '}{size} of {whole} products: most hits are inside; {obstacle}"
    return Plan("overfetch", why, candidates=size, candidates_exact=known)


def run(stores: Stores, plan: Plan, selection: Selection, ask: Ask) -> list[list[Ranked]]:
    """A list for each question, by this plan."""
    answer: list[list[Ranked]] | None = None
    if plan.name == "exact":
        return plans.exact(ask, plan.ids)
    if plan.name == "ids":
        return plans.ids(ask, plan.ids)
    if plan.name == "attribute":
        answer = plans.attribute(ask, plan.expression)
    else:
        answer = plans.overfetch(ask, lambda ids: graph_side.members(stores.graph, selection, ids))
    if answer is None:
        answer = plans.ids(ask, graph_side.stream_ids(stores.graph, selection))
    return answer
