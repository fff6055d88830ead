"""Every statement that the project owns, on both graph engines: the same rows and columns, the same graph after it.

The cases are data: `conformance/`, explained in `conforming.py`. A new statement without a case fails here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import neo4j
import pytest
from neo4j.exceptions import ClientError

from kg.graph.cypher.core import LOCK_SCHEMA, LOCK_TAKE
from kg.graph.driver import Graph
from kg.graph.embedded import run_sql
from kg.stores import Stores
from tests.conftest import wipe_graph
from tests.kg.graph.conforming import (
    MODULES,
    SHOP,
    Case,
    State,
    cases,
    changes,
    fill,
    in_order,
    ordered,
    pieces,
    plain,
    state,
    walks,
)

CASES = list(cases())
BATCHED = sorted(
    {(c.module, c.statement): c for c in CASES if c.text.lstrip().startswith("UNWIND $")}.values(), key=str
)
NAMED = {module: {name for c in CASES if c.module == module for name in c.statement.split(" + ")} for module in MODULES}
AGGREGATED = re.compile(r"RETURN (?:count|collect)\(")
SCANS = re.compile(r"AllNodesScan|LabelScan|LabelsScan")


class Shelves:
    """A graph with the shop in it, laid out anew only after a statement that changed it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.state: State = {}

    def run(self, case: Case, **given: Any) -> tuple[list[dict[str, Any]], State]:
        """Rows of a case, and what it changed."""
        if not self.state:
            self.clear()
            fill(self.graph)
            self.state = state(self.graph)
        before, self.state = self.state, {}
        rows = (self.graph.read if case.reads else self.graph.write)(case.text, **{**case.given, **given})
        after = state(self.graph)
        changed = changes(before, after)
        if not changed:
            self.state = after
        return rows, changed

    def clear(self) -> None:
        self.graph.write("MATCH (m:Migration) WHERE m.version >= $chain DELETE m", chain=SHOP["chain"])
        wipe_graph(self.graph)


@pytest.fixture(scope="module")
def shop(engine: Stores) -> Iterator[Shelves]:
    shelves = Shelves(engine.graph)
    yield shelves
    shelves.clear()


@pytest.mark.parametrize("module", MODULES)
def test_every_statement_has_a_case(module: str) -> None:
    assert NAMED[module] == set(pieces(module)), f"add what is missing to tests/kg/graph/conformance/{module}.yaml"
    assert walks(module).keys() <= {case.statement for case in CASES if case.module == module}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_and_changes(shop: Shelves, case: Case) -> None:
    rows, changed = shop.run(case)
    for column, least in case.since.items():
        rows = [row for row in rows if row[column] >= least]
    found = [{name: plain(value, name=name) for name, value in row.items()} for row in rows]
    for column in case.apart:
        own = [row.pop(column) for row in found]
        assert all(isinstance(value, float) for value in own)
        assert own == sorted(own, reverse=True), "each engine's own, but the best first"
    wanted = [plain(row) for row in case.rows]
    assert [list(row) for row in found] == [list(row) for row in wanted], "columns and their order"
    if case.apart or not in_order(case.text):
        found, wanted = ordered(found), ordered(wanted)
    assert found == wanted
    assert changed == case.changes


@pytest.mark.parametrize("case", BATCHED, ids=lambda case: f"{case.module}.{case.statement}")
def test_empty_input_does_nothing(shop: Shelves, case: Case) -> None:
    rows, changed = shop.run(case, **{case.text.split()[1].removeprefix("$"): []})
    assert not changed
    assert len(rows) == len(AGGREGATED.findall(case.text)), "one row where all are counted or collected, or none"
    assert not any(value for row in rows for value in row.values())


@pytest.mark.parametrize("module", MODULES)
def test_what_returns_shows_its_columns(module: str) -> None:
    """A statement that returns something has a case with a row: without one no engine names the columns."""
    shown = {case.statement for case in CASES if case.rows}
    silent = [case.statement for case in CASES if case.module == module and "RETURN" in case.text]
    assert [name for name in silent if name not in shown] == []


@pytest.mark.neo4j
@pytest.mark.parametrize("module", MODULES)
def test_reads_are_reads_and_lookups_use_an_index(shop: Shelves, module: str) -> None:
    """The server's own word: what it takes a statement for, and which nodes it would walk through."""
    graph = shop.graph
    if graph.engine != "neo4j":
        pytest.skip("the planner is Neo4j's")
    strays, one = [], {case.statement: case for case in CASES if case.module == module}
    for name, case in one.items():
        kind, scanned = explained(graph, case)
        assert (kind == "r") == case.reads, f"{case} is {kind}"
        if scanned != walks(module).get(name, set()):
            strays.append(f"{name} walks {sorted(scanned)}")
    assert strays == []


def explained(graph: Graph, case: Case) -> tuple[str | None, set[str]]:
    """The type of a statement by the server, and the labels of which its plan reads every node."""

    def run(transaction: neo4j.ManagedTransaction) -> neo4j.ResultSummary:
        return transaction.run("EXPLAIN " + case.text, case.given).consume()

    with graph._driver.session(database=graph.at.database) as session:
        summary = session.execute_read(run) if case.reads else session.execute_write(run)
    found, plans = set(), [summary.plan]
    while plans:
        plan = plans.pop()
        assert plan is not None
        if SCANS.search(plan["operatorType"]):
            found |= set(re.findall(r":(\w+)", plan["args"]["Details"])) or {"all"}
        plans += plan.get("children", [])
    return summary.query_type, found


def test_the_schema_of_the_locks_may_be_made_again(graph: Graph) -> None:
    assert set(LOCK_SCHEMA) == {"arcadedb", "neo4j"}
    for statement in LOCK_SCHEMA[graph.engine] * 2:
        run_sql(graph.at, statement) if graph.engine == "arcadedb" else graph.write(statement)
    graph.write(LOCK_TAKE, name="x", holder="me", dead="", lease=1, keep=False)
    with pytest.raises(ClientError):
        graph.write("CREATE (:Counter {name: 'x'})")
