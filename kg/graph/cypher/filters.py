"""Cypher of the graph part of a search.

A selection is read as START + WHERE + conditions + END: one start that binds the products `p` it may be about (the
cheapest of what must hold), every condition as a predicate on `p` (the start's own too, so that a start may be too
wide), and one end that says what is returned. `kg.graph.selection` joins them; the pieces stand here.

Every piece has variable names of its own: on ArcadeDB EXISTS sees variables that WITH has dropped, and its own are seen
after it. So variables and parameters of a condition bear its name, and `where` numbers both.
"""

from __future__ import annotations

import re
from itertools import count
from typing import Any

from kg.conditions import All, AnyOf, Condition, Leaf, Not

__all__ = [
    "BELOW",
    "CONDITIONS",
    "COUNT",
    "END_BEST",
    "END_BRANDS",
    "END_CATEGORIES",
    "END_COUNT",
    "END_IDS",
    "END_PAGE",
    "END_WORDS",
    "ENTITIES_BY_KEY",
    "ENTITIES_BY_TEXT",
    "NEIGHBOURS",
    "START_ALL",
    "START_ENTITIES",
    "START_IDS",
    "START_LINKED",
    "START_SELLERS",
    "START_WORDS",
    "where",
]

# One row an entity that has one of $keys: key, text, type, df.
ENTITIES_BY_KEY = """
UNWIND $keys AS key
MATCH (e:Entity {key: key})
RETURN e.key AS key, e.text AS text, e.type AS type, e.df AS df
"""

# One row an entity whose key ends in one of $endings: key, text, type, df. Walks all entities.
ENTITIES_BY_TEXT = """
MATCH (e:Entity)
WHERE any(ending IN $endings WHERE e.key ENDS WITH ending)
RETURN e.key AS key, e.text AS text, e.type AS type, e.df AS df
"""

# One row a category right below one of $keys: key, text, df, parent (a key of $keys).
BELOW = """
UNWIND $keys AS key
MATCH (c:Entity {key: key})
WITH c MATCH (below:Category)-[:CHILD_OF]->(c)
RETURN below.key AS key, below.text AS text, below.df AS df, c.key AS parent
"""

# One row an entity of $keys: source (its key), others (of each SIMILAR_TO edge a map of key, text, df, weight). Lists,
# not a row an edge: of thousands of edges that is a third of the time.
NEIGHBOURS = """
UNWIND $keys AS key
MATCH (e:Entity {key: key})
RETURN e.key AS source,
       [(e)-[s:SIMILAR_TO]-(other:Entity) WHERE s.weight IS NOT NULL |
        {key: other.key, text: other.text, df: other.df, weight: s.weight}] AS others
"""

# All products of the catalogue: n.
COUNT = "MATCH (p:Product) RETURN count(p) AS n"

# Products linked in any way to one of $start.
START_ENTITIES = """
UNWIND $start AS key
MATCH (found:Entity {key: key})
WITH found MATCH (p:Product)-[:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(found)
WITH DISTINCT p"""

# Products whose id is one of $start.
START_IDS = """
UNWIND $start AS id
MATCH (p:Product {id: id})
WITH DISTINCT p"""

# Products of one of the sellers $start.
START_SELLERS = """
UNWIND $start AS seller
MATCH (p:Product {seller: seller})
WITH DISTINCT p"""

# Every product.
START_ALL = "MATCH (p:Product)"

# Products whose title or description holds a word of the full-text query $words, with their score, the best first, at
# most $most: an index that is told how many are wanted need not read the products behind the others.
START_WORDS = """
CALL db.index.fulltext.queryNodes('product_text', $words, {limit: $most}) YIELD node AS p, score
WITH p, score"""

# Products linked in any way to an entity of $rows (key, seed, gain), with their score: of the entities that stand for
# one seed the largest gain counts, the seeds add up.
START_LINKED = """
UNWIND $rows AS row
MATCH (found:Entity {key: row.key})
WITH found, row.seed AS seed, row.gain AS gain
MATCH (p:Product)-[:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(found)
WITH p, seed, max(gain) AS most
WITH p, sum(most) AS score"""

# A predicate on `p` for each thing that can be asked; variable and parameter have the name of the condition.
CONDITIONS = {
    "brands": "EXISTS { MATCH (p)-[:MADE_BY]->(brands:Brand) WHERE brands.key IN $brands }",
    "categories": "EXISTS { MATCH (p)-[:IN_CATEGORY]->(categories:Category) WHERE categories.key IN $categories }",
    "entities": "EXISTS { MATCH (p)-[:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(entities:Entity) "
    "WHERE entities.key IN $entities }",
    "near": "EXISTS { MATCH (p)-[:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(near:Entity) WHERE near.key IN $near }",
    "graph": "EXISTS { MATCH (p)-[:HAS_ENTITY|MADE_BY|IN_CATEGORY]->(graph:Entity) WHERE graph.key IN $graph }",
    "min_price": "p.price >= $min_price",
    "max_price": "p.price <= $max_price",
    "sellers": "p.seller IN $sellers",
    "updated_since": "p.updated_at >= datetime($updated_since)",
    "pattern": "p.id IN $pattern",
}

# How many there are, counted up to $limit: n.
END_COUNT = "WITH p LIMIT $limit RETURN count(p) AS n"

# Every id, in no order: id.
END_IDS = "RETURN p.id AS id"

# The first $limit by id: id.
END_PAGE = "RETURN p.id AS id ORDER BY id LIMIT $limit"

# The first $limit in the order of the index, which is by score (the order that they come in: both engines keep it, a
# test sees to that): id, score (BM25).
END_WORDS = "RETURN p.id AS id, score LIMIT $limit"

# The $limit best by score: id, score.
END_BEST = "RETURN p.id AS id, score ORDER BY score DESC, id LIMIT $limit"

# One row a brand of these products: key, text, n (products).
END_BRANDS = """
MATCH (p)-[:MADE_BY]->(brand:Brand)
RETURN brand.key AS key, brand.text AS text, count(DISTINCT p) AS n"""

# One row a category that these products are in, or that lies above: key, text, n (products). In a cycle of categories
# there are several ways to one of them.
END_CATEGORIES = """
MATCH (p)-[:IN_CATEGORY]->(leaf:Category)
WITH leaf, count(DISTINCT p) AS n
MATCH (leaf)-[:CHILD_OF*0..30]->(above:Category)
WITH DISTINCT leaf, n, above
RETURN above.key AS key, above.text AS text, sum(n) AS n"""


def where(condition: Condition) -> tuple[str, dict[str, Any]]:
    """A predicate on `p` that is true where the condition holds, and its parameters; empty where nothing is asked.

    `All((Leaf("sellers", s), Not(Leaf("max_price", x))))` becomes
    `(p.seller IN $sellers_0) AND (NOT coalesce(p.price <= $max_price_1, false))`: without a price a leaf is null, and
    what is not true does not hold.
    """
    numbers, parameters = count(), {}

    def text(part: Condition) -> str:
        match part:
            case Leaf():
                name = f"{part.name}_{next(numbers)}"
                parameters[name] = part.value
                return re.sub(rf"\b{part.name}\b", name, CONDITIONS[part.name])
            case Not():
                return f"NOT coalesce({text(part.part)}, false)"
            case All():
                return " AND ".join(f"({text(one)})" for one in part.parts)
            case AnyOf():
                return " OR ".join(f"({text(one)})" for one in part.parts) or "false"

    return text(condition), parameters
