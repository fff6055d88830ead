"""The k products to show out of a fused list: what rules pin, bury and exclude, one for each very same product, and not
ten times the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from api.diversity import directions, diversified
from api.fusion import Fused
from api.models import SearchRequest
from api.rules import DONE, Ruling
from kg.graph.cypher.rules import SAME
from kg.graph.driver import Graph
from kg.graph.selection import Selection
from kg.rules import Action, Rule
from kg.stores import Stores
from kg.vectors.generations import Generation

__all__ = ["POOL", "Arranged", "arranged"]

POOL = 4  # products for each place of the list, so that diversity has a choice


@dataclass
class Arranged:
    """What is shown.

    Attributes:
        best: products, at most k.
        touched: product → the rule that it comes under.
        short: fewer than k without those that are buried: a longer list could fill it.
        notes: how many products the rules touched.
    """

    best: list[Fused]
    touched: dict[str, Rule] = field(default_factory=dict)
    short: bool = False
    notes: list[str] = field(default_factory=list)


def arranged(
    stores: Stores,
    fused: Sequence[Fused],
    request: SearchRequest,
    selection: Selection,
    ruling: Ruling,
    generation: Generation | None,
) -> Arranged:
    """The k best of a fused list.

    Pinned products come first, in the order of their rules; those that rules name come even where no list has them, if
    they pass the filters of the search. Buried ones come last, and only where nothing else is left. Diversity orders
    what lies between.

    Args:
        stores: both.
        fused: all that the lists hold, best first.
        request: `k`, `group` and `diversity` count.
        selection: what the search admits.
        ruling: the rules in force.
        generation: whose vectors say what is alike; None where there is none.
    """
    k = request.k
    if not ruling and request.group == "none" and not request.diversity:
        return Arranged(list(fused[:k]), short=len(fused) < k)
    wanted = k * POOL if request.diversity else k
    known = {item.product_id: item for item in fused}
    named = [id for id in ruling.pinned(selection) if id != request.like]
    lead = {id: known.get(id) or Fused(id, 0.0, {}, {}) for id in named}
    pinned: list[Fused] = []
    rest: list[Fused] = []
    buried: list[Fused] = []
    there: set[str] = set()  # groups of those that are pinned and of the rest
    out = 0
    touched: dict[str, Rule] = {}
    lifts = any(
        rule.action == "pin" and rule.filters is not None for rule in ruling.rules
    )  # from anywhere in the lists
    groups = _Groups(stores.graph, request.group == "offers")
    ordered = [*lead.values(), *(item for item in fused if item.product_id not in lead)]
    for part in _windows(ordered, max(100, 2 * wanted)):
        touched |= ruling.touching([item.product_id for item in part])
        groups.learn([item.product_id for item in part])
        for item in part:
            rule = touched.get(item.product_id)
            if rule and rule.action == "exclude":
                out += len(there) < k
            elif rule and rule.action == "bury":
                buried.append(item)
            else:
                (pinned if rule else rest).append(item)
                there.add(groups.of(item.product_id))
        if len(there) >= wanted and not lifts:
            break
    # The pinned ones first here too: filters may pin one that stands behind another listing of its group.
    pinned = [item for item in _in_order(pinned, ruling, touched) if groups.fresh(item.product_id)][:k]
    rest = [item for item in rest if groups.fresh(item.product_id)]
    rest = _diverse(stores, rest[:wanted], request, generation, k - len(pinned))
    best = [*pinned, *rest]
    short = len(best) < k
    best += [item for item in buried if groups.fresh(item.product_id)][: k - len(best)]
    counts: dict[Action, int] = {"pin": len(pinned), "bury": len(buried), "exclude": out}
    said = [f"{count} {DONE[action]}" for action, count in counts.items() if count]
    shown = {item.product_id for item in best}
    return Arranged(
        best,
        {id: rule for id, rule in touched.items() if id in shown},
        short,
        [*ruling.notes, *([f"rules: {', '.join(said)}"] if said else [])],
    )


def _windows(items: Sequence[Fused], size: int) -> Iterator[Sequence[Fused]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _in_order(pinned: Sequence[Fused], ruling: Ruling, touched: dict[str, Rule]) -> list[Fused]:
    """By rule, and by place in it; what filters pin as it is ranked."""
    order = {rule.id: at for at, rule in enumerate(ruling.rules)}

    def key(item: Fused) -> tuple[int, int]:
        rule = touched[item.product_id]
        return order[rule.id], rule.products.index(item.product_id) if item.product_id in rule.products else 0

    return sorted(pinned, key=key)


def _diverse(
    stores: Stores, items: list[Fused], request: SearchRequest, generation: Generation | None, places: int
) -> list[Fused]:
    if not request.diversity or generation is None or places < 1:
        return items[:places]
    vectors = directions(stores, generation, [item.product_id for item in items])
    order = diversified([item.score for item in items], vectors, places, request.diversity)
    return [items[at] for at in order]


class _Groups:
    """Which listings are the very same product; each stands for itself where that is not wanted."""

    def __init__(self, graph: Graph, wanted: bool) -> None:
        self.graph, self.wanted = graph, wanted
        self._first: dict[str, str] = {}
        self._taken: set[str] = set()

    def learn(self, ids: Sequence[str]) -> None:
        if self.wanted and ids:
            self._first |= {row["id"]: row["first"] for row in self.graph.read(SAME, ids=list(ids))}

    def of(self, id: str) -> str:
        """The group of this product."""
        return self._first.get(id, id)

    def fresh(self, id: str) -> bool:
        """Takes the group of this product, if no other has."""
        group = self.of(id)
        new = group not in self._taken
        self._taken.add(group)
        return new
