"""What the entity graph does to a search by words: the entities meant, what lies around them, the list they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from api.fusion import Ranked
from api.models import FoundEntity, GraphUse
from api.understanding import EntityFinder
from kg.graph import selection as graph_side
from kg.graph.neighbourhood import Neighbourhood, around, gains, narrowed
from kg.graph.selection import Selection
from kg.stores import Stores

__all__ = ["LIST", "Around", "look_around", "narrow", "widen"]

LIST = "graph"  # its name among the lists
BUDGET = 50_000  # links between products and entities that one list may read
NAMES = 5  # entities that a note names


@dataclass(frozen=True)
class Around:
    """Entities of a text and their neighbourhood.

    Attributes:
        found: entities that the text means, by key, best first.
        there: these and those around them.
        notes: what one should know.
    """

    found: Mapping[str, FoundEntity] = field(default_factory=dict)
    there: Neighbourhood = field(default_factory=Neighbourhood)
    notes: tuple[str, ...] = ()


def look_around(finder: EntityFinder, text: str, use: GraphUse) -> Around:
    """The entities that the text means and those around them, as far as `use` says; every category stands for all
    below it."""
    understood = finder.find(text)
    found = {one.key: FoundEntity(**asdict(one)) for one in understood.found}
    if not found:
        verb = {"narrow": "narrowed", "widen": "widened"}[use.mode]
        return Around(notes=(*understood.notes, f"the text means no entity of the graph: nothing is {verb}"))
    there = around(
        finder.stores.graph,
        {key: one.score for key, one in found.items()},
        hops=use.hops,
        min_weight=use.min_weight,
        most=use.most,
        below=True,
    )
    return Around({key: one for key, one in found.items() if key in there.ways}, there, understood.notes)


def narrow(selection: Selection, seen: Around) -> tuple[Selection, str]:
    """The selection, kept to products linked to one of the entities, and a note that names these."""
    names = [f"{seen.there.nodes[key].text!r} ({seen.there.nodes[key].type})" for key in seen.found]
    more = len(seen.there.ways) - len(seen.found)
    said = ", ".join(names[:NAMES]) + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")
    said += f", or to {more} around {'it' if len(names) == 1 else 'them'}" if more else ""
    return narrowed(selection, seen.there), f"narrowed to products linked to {said}"


def widen(
    stores: Stores, selection: Selection, seen: Around, *, products: int, depth: int, exclude: frozenset[str]
) -> tuple[list[Ranked], list[str]]:
    """The `depth` best products by the entities they are linked to, inside the selection, and notes.

    Args:
        stores: the graph is read.
        selection: what the filters admit.
        seen: entities in play.
        products: in the whole catalogue.
        depth: of the list.
        exclude: products that are not wanted.
    """
    rows, left = gains(seen.there, products=products, budget=BUDGET)
    found = graph_side.linked(stores.graph, selection, rows, depth + len(exclude))
    ranked = [Ranked(id, "", round(score, 6)) for id, score in found if id not in exclude][:depth]
    common = [seen.there.nodes[key] for key in left if key in seen.found]
    notes = [f"{node.text!r} is on {node.df} products, too many to rank by" for node in common[:NAMES]]
    return ranked, notes
