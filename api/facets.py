"""What is inside the filters, by brand and by category."""

from __future__ import annotations

from api.models import Facet, Facets
from kg.filters import Filters
from kg.graph import selection as graph_side
from kg.graph.cypher.filters import END_BRANDS, END_CATEGORIES
from kg.graph.resolving import selected
from kg.stores import Stores

__all__ = ["facets"]

ALL = 2**31 - 1  # no catalogue is larger


def facets(stores: Stores, filters: Filters, *, limit: int = 50) -> Facets:
    """Counts of products under these filters; at most `limit` brands and as many categories, the largest first.

    Raises:
        BadFilter, BadQuery, TooLarge: see `kg.graph.resolving.select`.
        StoreDown: the graph does not answer.
    """
    graph = stores.graph
    selection = selected(stores, filters)
    brands, categories = (
        tuple(
            Facet(key=row["key"], text=row["text"], count=row["n"])
            for row in graph_side.facet(graph, selection, end)[:limit]
        )
        for end in (END_BRANDS, END_CATEGORIES)
    )
    return Facets(total=graph_side.count(graph, selection, ALL), brand=brands, category=categories)
