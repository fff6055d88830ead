"""The chain of schema steps: applied once and in order, refused when it was tampered with, on each engine."""

from __future__ import annotations

import hashlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from neo4j.exceptions import ConstraintError

from kg.errors import BadInput, MigrationError
from kg.graph.cypher.core import LOCK_TAKE
from kg.graph.driver import Graph
from kg.migrate import LOCK, MIGRATIONS, applied, chain, migrate, pending, statements, undo
from kg.stores import Stores

KEYS = {
    "Product": "id",
    "Image": "id",
    "Instance": "id",
    "Entity": "key",
    "Generation": "id",
    "Job": "id",
    "Removed": "id",
    "Counter": "name",
    "Event": "id",
    "Audit": "id",
    "Load": "id",
    "Rule": "id",
}


@pytest.fixture
def folder(graph: Graph, tmp_path: Path) -> Iterator[Path]:
    """A copy of the chain to be played with; what it adds to the graph's chain is forgotten afterwards."""
    copy = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    yield copy
    graph.write("MATCH (m:Migration) WHERE m.version > $last DETACH DELETE m", last=chain()[-1].version)
    migrate(graph)  # a test may have undone a step of the true chain


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
    code = "def apply(graph, vectors):\n    graph.write('MATCH (p:Product) SET p.title = \"seen\"')\n"
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
    with (folder / "V001__schema.arcadedb.sql").open("a") as file:
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


def test_the_latest_step_can_be_undone_and_applied_again(graph: Graph, folder: Path) -> None:
    last = chain()[-1]
    assert undo(graph, dry_run=True) == [last]
    assert last.version in applied(graph)
    assert undo(graph) == [last]
    assert pending(graph) == [last]
    for _ in range(2):  # the constraint is gone
        graph.write("CREATE (:Rule {id: 'a'})")
    graph.write("MATCH (e:Rule) DETACH DELETE e")
    assert migrate(graph) == [last]
    graph.write("CREATE (:Rule {id: 'a'})")
    with pytest.raises(ConstraintError):
        graph.transaction(lambda tx: tx.run("CREATE (:Rule {id: 'a'})"))


def test_undo_goes_back_to_a_version_the_latest_step_first(graph: Graph, folder: Path) -> None:
    at = chain()[-1].version
    after_last(folder, "one.cypher", "MERGE (:Product {id: 'one'});")
    after_last(folder, "one.undo.cypher", "MATCH (p:Product {id: 'one'}) DELETE p;")
    after_last(folder, "two.cypher", "MATCH (p:Product {id: 'one'}) SET p.title = 'two';", offset=2)
    back = "MATCH (p:Product {id: 'one'}) SET p.title = 'back';\nMERGE (:Image {id: 'two was here'});"
    after_last(folder, "two.undo.cypher", back, offset=2)
    migrate(graph, folder=folder)
    assert [step.name for step in undo(graph, to=at, folder=folder)] == ["two", "one"]
    assert max(applied(graph)) == at
    assert graph.read("MATCH (p:Product) RETURN p.id AS id") == []
    assert len(graph.read("MATCH (i:Image) RETURN i.id AS id")) == 1
    assert undo(graph, to=at, folder=folder) == []
    with pytest.raises(BadInput, match=rf"to = {at + 1}: the schema is at V{at:03d}"):
        undo(graph, to=at + 1, folder=folder)


def test_a_step_without_a_way_back_keeps_all_from_being_undone(graph: Graph, folder: Path) -> None:
    version = after_last(folder, "one.cypher", "MERGE (:Product {id: 'one'});")
    after_last(folder, "one.undo.cypher", "MATCH (p:Product {id: 'one'}) DELETE p;")
    migrate(graph, folder=folder)
    for path in folder.glob("V001*.undo.*"):
        path.unlink()
    with pytest.raises(MigrationError, match="V001__schema cannot be undone"):
        undo(graph, to=0, folder=folder)
    assert version in applied(graph)
    other = {"neo4j": "arcadedb.sql", "arcadedb": "neo4j.cypher"}[graph.engine]
    (folder / f"V{version:03d}__one.undo.cypher").rename(folder / f"V{version:03d}__one.undo.{other}")
    with pytest.raises(MigrationError, match=f"no V{version:03d}__one.undo file for the engine '{graph.engine}'"):
        undo(graph, folder=folder)


def test_all_of_it_is_undone_in_an_empty_graph_and_applied_again(graph: Graph, folder: Path) -> None:
    graph.write("CREATE (:Product {id: 'a'})")
    with pytest.raises(MigrationError, match="V001__schema is undone in an empty graph only: this one holds data"):
        undo(graph, to=0)
    assert pending(graph) == [], "nothing was begun"
    graph.write("MATCH (p:Product) DETACH DELETE p")
    steps = chain()
    assert undo(graph, to=0) == steps[::-1]
    assert applied(graph) == {}
    held = {"Counter"}  # the locks stand on it
    for label, key in KEYS.items():
        if label not in held:
            for _ in range(2):
                graph.write(f"CREATE (:{label} {{{key}: 'a'}})")
            graph.write(f"MATCH (n:{label}) DETACH DELETE n")
    assert migrate(graph) == steps
    for label, key in KEYS.items():
        graph.write(f"CREATE (:{label} {{{key}: 'a'}})")
        with pytest.raises(ConstraintError):
            graph.transaction(lambda tx, one=f"CREATE (:{label} {{{key}: 'a'}})": tx.run(one))


def test_a_checkout_with_other_line_ends_has_the_same_steps(folder: Path) -> None:
    for path in folder.glob("V*"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert [step.checksum for step in chain(folder)] == [step.checksum for step in chain()]


def test_a_graph_that_such_a_checkout_has_made_is_taken_for_what_it_is(graph: Graph) -> None:
    mark = "MATCH (m:Migration {version: $version}) SET m.checksum = $checksum"
    try:
        for step in chain():
            texts = [path.read_bytes().replace(b"\n", b"\r\n") for path in step.paths]
            pairs = zip(step.paths, texts, strict=True)
            whole = b"\0".join(path.name.encode() + b"\0" + text for path, text in pairs)
            graph.write(mark, version=step.version, checksum=hashlib.sha256(whole).hexdigest())
        assert pending(graph) == []
    finally:
        for step in chain():
            graph.write(mark, version=step.version, checksum=step.checksum)


def test_the_checksums_that_graphs_know_stay() -> None:
    """A changed byte of these steps would be refused by every graph that has taken them."""
    assert [step.checksum[:12] for step in chain()][:3] == ["5a96e633d4ab", "8caebb9b2bd9", "ee15b4633503"]


def test_a_changed_way_back_is_no_changed_step_but_a_changed_step_is_not_undone(graph: Graph, folder: Path) -> None:
    version = after_last(folder, "one.cypher", "MERGE (:Product {id: 'one'});")
    migrate(graph, folder=folder)
    after_last(folder, "one.undo.cypher", "MATCH (p:Product {id: 'one'}) DELETE p;")
    assert pending(graph, folder) == []
    (folder / f"V{version:03d}__one.cypher").write_text("RETURN 1;")
    with pytest.raises(MigrationError, match="was changed after it was applied"):
        undo(graph, folder=folder)


def test_a_way_back_that_leads_from_nowhere(tmp_path: Path) -> None:
    (tmp_path / "V001__one.cypher").write_text("RETURN 1;")
    (tmp_path / "V002__two.undo.cypher").write_text("RETURN 1;")
    with pytest.raises(MigrationError, match="undoes a step V002__two that does not exist"):
        chain(tmp_path)


def test_an_undoing_that_fails_leaves_a_step_that_is_applied_again(graph: Graph, folder: Path) -> None:
    version = after_last(folder, "one.cypher", "MERGE (:Product {id: 'one'});")
    after_last(folder, "one.undo.cypher", "MATCH (p:Product {id: 'one'}) DELETE p;\nMATCH (p RETURN p;")
    migrate(graph, folder=folder)
    with pytest.raises(MigrationError, match=r"one\.undo\.cypher"):
        undo(graph, folder=folder)
    assert version not in applied(graph)
    assert [step.version for step in migrate(graph, folder=folder)] == [version]
    assert graph.read("MATCH (p:Product) RETURN p.id AS id") == [{"id": "one"}]


BOTH = """
def apply(graph, vectors):
    vectors().create(f"{vectors().prefix}_made", 4)
    graph.write("MERGE (:Product {id: 'made'})")

def undo(graph, vectors):
    vectors().drop(f"{vectors().prefix}_made")
    graph.write("MATCH (p:Product {id: 'made'}) DELETE p")
"""


def test_a_step_over_both_stores_and_back(stores: Stores, folder: Path) -> None:
    graph = stores.graph
    after_last(folder, "both.py", BOTH)
    with pytest.raises(MigrationError, match="needs the vector store"):
        migrate(graph, folder=folder)
    migrate(graph, folder=folder, vectors=lambda: stores.vectors)
    assert stores.vectors.collections() == ["skugraph_made"]
    assert [step.name for step in undo(graph, folder=folder, vectors=lambda: stores.vectors)] == ["both"]
    assert stores.vectors.collections() == []
    assert graph.read("MATCH (p:Product) RETURN p.id AS id") == []


def test_of_two_runners_one_applies_and_the_other_waits(graph: Graph, folder: Path) -> None:
    code = "import time\ndef apply(graph, vectors):\n    time.sleep(0.5)\n    graph.write('CREATE (:Product)')\n"
    after_last(folder, "slow.py", code)
    start = threading.Barrier(2)

    def run() -> int:
        start.wait()
        return len(migrate(graph, folder=folder))

    with ThreadPoolExecutor(2) as runners:
        done = sorted(taken.result() for taken in [runners.submit(run) for _ in range(2)])
    assert done == [0, 1]
    assert graph.read("MATCH (p:Product) RETURN count(p) AS n") == [{"n": 1}]


def take_lock(graph: Graph, holder: str, lease_s: float) -> None:
    assert graph.write(LOCK_TAKE, name=LOCK, holder=holder, dead="", keep=False, lease=int(lease_s * 1000))


def test_a_runner_that_died_loses_the_lock_after_a_while(graph: Graph, folder: Path) -> None:
    after_last(folder, "mark.cypher", "RETURN 1;")
    take_lock(graph, "elsewhere 1 0.0 x", 1.5)
    with pytest.raises(MigrationError, match=r"another runner is migrating: .* held by process elsewhere 1"):
        migrate(graph, folder=folder, wait_s=0.3)
    assert len(migrate(graph, folder=folder, wait_s=30)) == 1


def test_a_runner_of_this_machine_that_died_loses_it_at_once(graph: Graph, folder: Path) -> None:
    after_last(folder, "mark.cypher", "RETURN 1;")
    take_lock(graph, f"{socket.gethostname()} 1 1.0 x", 3600)
    began = time.monotonic()
    assert len(migrate(graph, folder=folder, wait_s=30)) == 1
    assert time.monotonic() - began < 25
