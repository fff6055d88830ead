"""What captions give away by themselves, kept in the graph: the mined phrases, and when they are mined again.

Mining looks at every caption and a new dictionary means that every caption is matched again; so the phrases are kept
(nodes `Phrase`, apart from the entities) and renewed only when the catalogue has grown or shrunk by more than a tenth,
when the rule changed, or when somebody asks. The phrases of a new round are written beside the old ones, and hold from
one write on: killed anywhere, either the old or the new ones hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Literal

from kg.graph.cypher import entities as cypher
from kg.graph.driver import Graph
from kg.mining import Mined, mine
from kg.records import content_hash, entity_key

__all__ = ["Mining", "Recognise", "mined_entities"]

GROWTH = 0.1
ENOUGH = 2  # entities that fields state of a product, on average: then "auto" does not mine
BATCH = 1000

Recognise = Callable[[Sequence[str]], list[list[tuple[str, str]]]]  # captions to (type, text) of their entities


@dataclass(frozen=True)
class Mining:
    """Whether and how captions are mined.

    Attributes:
        mode: "auto" mines where fields state fewer than two entities of a product on average.
        least_df: captions that a phrase must stand in.
        recognise: a model that also finds entities, None without one; `model` is its name.
        renew: mine now, whatever there is.
    """

    mode: Literal["auto", "on", "off"] = "auto"
    least_df: int = 2
    recognise: Recognise | None = None
    model: str = ""
    renew: bool = False

    @property
    def rule(self) -> str:
        return f"{self.mode} {self.least_df} {self.model}".strip()


def mined_entities(graph: Graph, mining: Mining | None) -> list[Mined]:
    """The phrases that hold, by key; mined now if it is time to.

    Raises:
        BadSetting: Chinese captions, and jieba is not installed.
    """
    [state] = graph.read(cypher.MINED_STATE)
    if mining is None or mining.mode == "off":
        if state["round"]:
            _hold(graph, [], 0, "off")
        return []
    due = mining.renew or state["round"] is None or state["rule"] != mining.rule
    if due or abs(state["products"] - state["then"]) > GROWTH * state["then"]:
        found = sorted(_mine(graph, mining), key=lambda one: one.key) if _wanted(graph, mining) else []
        _hold(graph, found, state["products"], mining.rule)
        return found
    rows = graph.read(cypher.MINED, round=state["round"]) if state["round"] else []
    found = [Mined(**row | {"spellings": tuple(row["spellings"])}) for row in rows]
    return sorted({one.key: one for one in found}.values(), key=lambda one: one.key)


def _wanted(graph: Graph, mining: Mining) -> bool:
    if mining.mode == "on":
        return True
    [stated] = graph.read(cypher.STATED)
    return bool(stated["links"] < ENOUGH * stated["products"])


def _mine(graph: Graph, mining: Mining) -> list[Mined]:
    found = {one.key: one for one in mine(_captions(graph), least_df=mining.least_df)}
    if mining.recognise:
        for one in _recognised(_captions(graph), mining.recognise, mining.least_df):
            # What the model has a name for is no mere phrase any more.
            found.pop(entity_key("phrase", one.text), None)
            found[one.key] = one
    return list(found.values())


def _captions(graph: Graph) -> Iterable[str]:
    return (f"{row['title'] or ''}\n{row['description'] or ''}" for row in graph.stream(cypher.TITLES))


def _recognised(captions: Iterable[str], recognise: Recognise, least_df: int) -> list[Mined]:
    counts: Counter[str] = Counter()
    first: dict[str, tuple[str, str]] = {}
    captions = iter(captions)
    while batch := list(islice(captions, BATCH)):
        for entities in recognise(batch):
            for key, one in {entity_key(kind, text): (kind, text) for kind, text in entities}.items():
                counts[key] += 1
                first[key] = min(one, first.get(key, one))
    return [
        Mined(key, first[key][1], first[key][0], df, float(df), (first[key][1],))
        for key, df in counts.items()
        if df >= least_df
    ]


def _hold(graph: Graph, found: list[Mined], products: int, rule: str) -> None:
    rows = [asdict(one) | {"spellings": list(one.spellings)} for one in found]
    round = content_hash(rows)[:16] if rows else ""
    [state] = graph.read(cypher.MINED_STATE)
    if round != state["round"]:
        _drop(graph, state["round"] or "")  # what a round that was killed left
        for start in range(0, len(rows), BATCH):
            graph.write(cypher.MINED_ADD, rows=rows[start : start + BATCH], round=round)
    graph.write(cypher.MINED_DONE, round=round, products=products, rule=rule)
    _drop(graph, round)


def _drop(graph: Graph, round: str) -> None:
    while graph.write(cypher.MINED_DROP, round=round, limit=BATCH)[0]["gone"]:
        pass
