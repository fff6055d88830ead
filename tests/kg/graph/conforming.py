"""What the conformance suite stands on: the cases as data, a small fixed shop, and a graph as plain values.

`conformance/MODULE.yaml` names the cases of `kg/graph/cypher/MODULE.py`: statement → cases, each of

    case     what it shows
    given    its parameters
    rows     what it returns, the columns in order; the rows in order where the statement orders them
    changes  what it does to the graph: `+ thing` with its properties, `- thing`, or a thing with those that differ
    apart    columns whose values are each engine's own, such as a score of words, the best first
    since    a column and a value: rows with less in that column are not the shop's

`B.k` is the value at k of the dictionary B; pieces joined by ` + ` are one statement, as kg.graph.selection joins them.
Below `walks` stand the statements that read every node of some labels, with these labels: no other may.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from neo4j.time import DateTime

import kg.graph.cypher
from kg.graph.driver import Graph, Tx

__all__ = [
    "MODULES",
    "SHOP",
    "Case",
    "State",
    "cases",
    "changes",
    "fill",
    "in_order",
    "ordered",
    "pieces",
    "plain",
    "state",
    "text_of",
    "walks",
]

FOLDER = Path(__file__).with_name("conformance")
MODULES = tuple(sorted(one.name for one in pkgutil.iter_modules(kg.graph.cypher.__path__)))
WRITES = re.compile(r"\b(CREATE|MERGE|SET|DELETE|REMOVE)\b")
RECENT_MS = 600_000
CLOCKS = {"applied_at", "at", "until"}  # set by the server's clock

State = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One run of one statement."""

    module: str
    statement: str
    case: str
    given: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    since: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.module}.{self.statement}: {self.case}"

    @property
    def text(self) -> str:
        return text_of(self.module, self.statement)

    @property
    def reads(self) -> bool:
        return not WRITES.search(self.text)


@cache
def _file(module: str) -> dict[str, Any]:
    path = FOLDER / f"{module}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.exists() else {}


def cases() -> Iterator[Case]:
    """Every case of every module."""
    for module in MODULES:
        for statement, own in _file(module).items():
            if statement != "walks":
                yield from (Case(module, statement, **one) for one in own)


def walks(module: str) -> dict[str, set[str]]:
    """Statement → labels of which it reads every node."""
    return {statement: set(labels) for statement, labels in _file(module).get("walks", {}).items()}


def pieces(module: str) -> dict[str, str]:
    """Every text of the module by its name; that of what differs by engine (DDL) is no text."""
    found = {}
    for name, value in vars(importlib.import_module(f"kg.graph.cypher.{module}")).items():
        if name.isupper() and not name.startswith("_"):
            texts = {f"{name}.{key}": text for key, text in value.items()} if isinstance(value, dict) else {name: value}
            found |= {place: text for place, text in texts.items() if isinstance(text, str)}
    return found


def text_of(module: str, statement: str) -> str:
    """A statement as it is sent: the pieces between the first and the last are conditions."""
    first, *rest = [pieces(module)[name] for name in statement.split(" + ")]
    where = " AND ".join(rest[:-1])
    return "\n".join([first, *([f"WHERE {where}"] if where else []), *rest[-1:]])


def in_order(text: str) -> bool:
    """Whether the statement orders what it returns."""
    return "ORDER BY" in text.rpartition("RETURN")[2]


# graphs as plain values


def plain(value: Any, *, name: str = "") -> Any:
    """Times as ISO text; what the server's clock gave just now as `now`; collections (but boxes) sorted."""
    if isinstance(value, DateTime):
        value = value.to_native()
        text = value.isoformat()
        return "now" if name in CLOCKS and abs(value.timestamp() - time.time()) < RECENT_MS / 1000 else text
    if isinstance(value, dict):
        return {key: plain(one, name=key) for key, one in value.items()}
    if isinstance(value, list):
        found = [plain(one) for one in value]
        return found if all(isinstance(one, int | float) for one in found) else ordered(found)
    if name in CLOCKS and isinstance(value, int) and abs(value / 1000 - time.time()) < RECENT_MS / 1000:
        return "now"
    return value


def ordered(values: Iterable[Any]) -> list[Any]:
    """Sorted by their JSON."""
    return sorted(values, key=lambda value: json.dumps(value, sort_keys=True))


def state(graph: Graph) -> State:
    """Every node and relationship with its properties, by a name: `Product p1`, `p1 -MADE_BY-> brand:x`."""
    found: State = {}
    nodes = graph.read("MATCH (n) RETURN labels(n) AS labels, properties(n) AS v")
    for row in nodes:
        if row["labels"] != ["Migration"] or row["v"]["version"] >= SHOP["chain"]:
            _put(found, f"{':'.join(sorted(row['labels']))} {_named(row['v'])}", row["v"])
    edges = graph.read(
        "MATCH (a)-[r]->(b) RETURN properties(a) AS a, type(r) AS kind, properties(b) AS b, properties(r) AS v"
    )
    for row in edges:
        source = f" {row['v']['source']}" if row["kind"] == "SIMILAR_TO" else ""
        _put(found, f"{_named(row['a'])} -{row['kind']}{source}-> {_named(row['b'])}", row["v"])
    return found


def _named(values: dict[str, Any]) -> str:
    return str(next(values[name] for name in ("id", "key", "name", "version") if name in values))


def _put(found: State, name: str, values: dict[str, Any]) -> None:
    while name in found:
        name += " again"
    found[name] = {key: plain(value, name=key) for key, value in sorted(values.items()) if value is not None}


def changes(before: State, after: State) -> dict[str, dict[str, Any]]:
    """What came, went, and differs."""
    made = {f"+ {name}": after[name] for name in after.keys() - before.keys()}
    gone: State = {f"- {name}": {} for name in before.keys() - after.keys()}
    other = {}
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        if differs := {key: new.get(key) for key in old.keys() | new.keys() if old.get(key) != new.get(key)}:
            other[name] = differs
    return made | gone | other


# the shop


SHOP: dict[str, Any] = yaml.safe_load((FOLDER / "shop.yaml").read_text(encoding="utf-8"))


def fill(graph: Graph) -> None:
    """Put the shop into an empty graph. `ago` of a node is the age of its `at`, in ms."""
    graph.transaction(_fill)


def _fill(tx: Tx) -> None:
    now = int(time.time() * 1000)
    for labels, rows in SHOP["nodes"].items():
        key = next(name for name in ("id", "key", "name", "version") if name in rows[0])
        rows = [{name: value for name, value in row.items() if name != "ago"} | _aged(row, now) for row in rows]
        tx.run(f"UNWIND $rows AS row CREATE (n:{labels} {{{key}: row.{key}}}) SET n += row", rows=[*rows])
    dated = [{"id": id, "at": at} for id, at in SHOP["updated_at"].items()]
    tx.run("UNWIND $rows AS row MATCH (p:Product {id: row.id}) SET p.updated_at = datetime(row.at)", rows=dated)
    for kind, edges in SHOP["edges"].items():
        kind, start, start_key, end, end_key = kind.split()
        tx.run(
            f"UNWIND $rows AS row MATCH (a:{start} {{{start_key}: row.a}}) MATCH (b:{end} {{{end_key}: row.b}}) "
            f"CREATE (a)-[r:{kind}]->(b) SET r += row.v",
            rows=[{"a": a, "b": b, "v": v[0] if v else {}} for a, b, *v in edges],
        )


def _aged(row: dict[str, Any], now: int) -> dict[str, int]:
    return {"at": now - row["ago"]} if "ago" in row else {}
