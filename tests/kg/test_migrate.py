"""The chain of schema steps: applied once and in order, refused when it was tampered with, on each engine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from neo4j.exceptions import ConstraintError

from kg.errors import MigrationError
from kg.graph.driver import Graph
from kg.migrate import MIGRATIONS, applied, chain, migrate, pending, statements

KEYS = {
    "Product": "id",
    "Image": "id",
    "Instance": "id",
    "Entity": "key",
    "Generation": "id",
    "Job": "id",
    "Removed": "id",
    "Counter": "name",
}


@pytest.fixture
def folder(graph: Graph, tmp_path: Path) -> Iterator[Path]:
    """A copy of the chain to be played with; what it adds to the graph's chain is forgotten afterwards."""
    copy = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    yield copy
    graph.write("MATCH (m:Migration) WHERE m.version > $last DETACH DELETE m", last=chain()[-1].version)


def after_last(folder: Path, name: str, text: str, offset: int = 1) -> int:
    version = chain()[-1].version + offset
    (folder / f"V{version:03d}__{name}").write_text(text)
    return version


def test_graph_is_up_to_date_and_nothing_is_done_twice(graph: Graph) -> None:
    assert applied(graph) == {step.version: step.checksum for step in chain()}
    assert pending(graph) == []
    assert migrate(graph) == []


@pytest.mark.parametrize(("label", "key"), KEYS.items())
def test_business_keys_are_unique(graph: Graph, label: str, key: str) -> None:
    graph.write(f"CREATE (:{label} {{{key}: 'a'}})")
    with pytest.raises(ConstraintError):
        graph.transaction(lambda tx: tx.run(f"CREATE (:{label} {{{key}: 'a'}})"))


def test_ranges_compare_numbers(graph: Graph) -> None:
    """An index that took numbers for text would say 9 > 10."""
    rows = [{"id": f"p{i}", "revision": i, "price": i / 2} for i in range(1, 2001)]
    graph.write_rows("UNWIND $rows AS row CREATE (p:Product) SET p = row", rows)
    query = "MATCH (p:Product) WHERE p.revision > $after RETURN p.revision AS n ORDER BY p.revision LIMIT 2"
    assert graph.read(query, after=9) == [{"n": 10}, {"n": 11}]
    query = "MATCH (p:Product) WHERE p.price >= 9.5 AND p.price < 10.5 RETURN p.revision AS n ORDER BY n"
    assert graph.read(query) == [{"n": 19}, {"n": 20}]


def test_dry_run_lists_and_does_nothing(graph: Graph, folder: Path) -> None:
    version = after_last(folder, "mark.cypher", "CREATE (:Product {id: 'mark'});\n")
    assert [step.name for step in migrate(graph, dry_run=True, folder=folder)] == ["mark"]
    assert version not in applied(graph)
    assert graph.read("MATCH (p:Product) RETURN p.id AS id") == []


def test_steps_in_cypher_and_python_run_in_order(graph: Graph, folder: Path) -> None:
    after_last(folder, "mark.cypher", "// two\nCREATE (:Product {id: 'a;b'});\nCREATE (:Product {id: 'b'});\n")
    code = "def apply(graph):\n    graph.write('MATCH (p:Product) SET p.title = \"seen\"')\n"
    after_last(folder, "titles.py", code, offset=2)
    assert [step.name for step in migrate(graph, folder=folder)] == ["mark", "titles"]
    assert migrate(graph, folder=folder) == []
    found = graph.read("MATCH (p:Product) RETURN p.id AS id, p.title AS title ORDER BY id")
    assert found == [{"id": "a;b", "title": "seen"}, {"id": "b", "title": "seen"}]


def test_step_for_each_engine(graph: Graph, folder: Path) -> None:
    after_last(folder, "vary.neo4j.cypher", "CREATE (:Product {id: 'neo4j'});")
    after_last(folder, "vary.arcadedb.sql", "CREATE VERTEX Product SET id = 'arcadedb';")
    migrate(graph, folder=folder)
    assert graph.read("MATCH (p:Product) RETURN p.id AS id") == [{"id": graph.engine}]


def test_changed_step_is_refused(graph: Graph, folder: Path) -> None:
    with next(folder.glob("V001*.sql")).open("a") as file:
        file.write("-- afterthought\n")
    with pytest.raises(MigrationError, match=r"V001__schema was changed after it was applied.*[0-9a-f]{12}"):
        migrate(graph, folder=folder)


def test_failed_step_is_not_recorded(graph: Graph, folder: Path) -> None:
    version = after_last(folder, "wrong.cypher", "CREATE (:Product {id: 'before'});\nMATCH (p RETURN p;\n")
    with pytest.raises(MigrationError, match=r"wrong\.cypher"):
        migrate(graph, folder=folder)
    assert version not in applied(graph)
    (folder / f"V{version:03d}__wrong.cypher").write_text("MERGE (:Product {id: 'before'});\n")
    assert [step.version for step in migrate(graph, folder=folder)] == [version]


def test_wrong_statement_of_the_engines_own_language(graph: Graph, folder: Path) -> None:
    after_last(folder, "wrong.neo4j.cypher", "CREATE NONSENSE;")
    after_last(folder, "wrong.arcadedb.sql", "CREATE NONSENSE;")
    with pytest.raises(MigrationError, match="NONSENSE"):
        migrate(graph, folder=folder)


def test_graph_of_a_newer_version_is_refused(graph: Graph, folder: Path) -> None:
    after_last(folder, "mark.cypher", "RETURN 1;")
    migrate(graph, folder=folder)
    with pytest.raises(MigrationError, match="does not know"):
        migrate(graph)


def test_engine_without_a_variant(graph: Graph, folder: Path) -> None:
    other = {"neo4j": "arcadedb.sql", "arcadedb": "neo4j.cypher"}[graph.engine]
    after_last(folder, f"half.{other}", "RETURN 1;")
    with pytest.raises(MigrationError, match=f"no variant for the engine '{graph.engine}'"):
        migrate(graph, folder=folder)


def test_numbers_run_without_gaps(tmp_path: Path) -> None:
    (tmp_path / "V002__second.cypher").write_text("RETURN 1;")
    with pytest.raises(MigrationError, match="step 1 must exist once"):
        chain(tmp_path)
    (tmp_path / "V001__one.cypher").write_text("RETURN 1;")
    assert [step.version for step in chain(tmp_path)] == [1, 2]
    (tmp_path / "V001__other.cypher").write_text("RETURN 1;")
    with pytest.raises(MigrationError, match="step 1 must exist once"):
        chain(tmp_path)


def test_statements_end_at_line_ends() -> None:
    assert statements("// c\nA ';' B;\n\n-- d\nC\n  D ;\nE") == ["A ';' B", "C\n  D", "E"]
