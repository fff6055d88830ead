from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import IngestReport, ingest
from kg.errors import BadColumnMap, BadInput
from kg.graph.driver import Graph
from kg.sample import SamplePaths, write_sample
from kg.settings import Settings
from kg.stores import Stores, open_stores, running, stop_stores
from tests.kg.catalogue.shop import MAP, dump, picture, rejected, row, write_table, wrong_counts
from tests.kg.catalogue.test_pictures import png_of


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SamplePaths:
    return write_sample(tmp_path_factory.mktemp("sample"), products=40)


def counts(report: IngestReport) -> tuple[int, ...]:
    return report.read, report.written, report.updated, report.unchanged, report.rejected, report.removed


def revisions(graph: Graph) -> dict[str, int]:
    return {found["id"]: found["r"] for found in graph.read("MATCH (p:Product) RETURN p.id AS id, p.revision AS r")}


def small_batches(stores: Stores, rows: int) -> Stores:
    return replace(stores, settings=stores.settings.model_copy(update={"batch_rows": rows}))


def test_the_sample_lands_whole_and_a_second_run_changes_nothing(stores: Stores, sample: SamplePaths) -> None:
    column_map = ColumnMap.load(sample.map)
    seen: list[IngestReport] = []
    report = ingest(small_batches(stores, 40), sample.table, sample.images, column_map, progress=seen.append)
    total = len(sample.table.read_text().splitlines()) - 1
    assert counts(report) == (total, total, 0, 0, 0, 0)
    assert [step.read for step in seen][-1] == total
    assert len(seen) == -(-total // 40)
    assert not wrong_counts(stores.graph)
    first = dump(stores.graph, revisions=True)
    again = ingest(stores, sample.table, sample.images, column_map, sync=True)
    assert counts(again) == (total, 0, 0, total, 0, 0)
    assert dump(stores.graph, revisions=True) == first


def test_what_a_row_becomes(stores: Stores, tmp_path: Path) -> None:
    ingest(stores, write_table(tmp_path, [row(1, box="2 3 20 15"), row(0)]), None, MAP)
    [found] = stores.graph.read(
        """
        MATCH (m:Image)<-[:IN]-(i:Instance)-[:OF]->(p:Product {id: 'p1'})-[:MADE_BY]->(b:Brand)
        MATCH (m)-[:SHOWS]->(p)-[:IN_CATEGORY]->(c:Category)-[:CHILD_OF]->(:Category)-[:CHILD_OF]->(top:Category)
        MATCH (p)-[r:HAS_ENTITY]->(e:Attribute)
        MATCH (p)-[same:SAME_AS]->(hub:Product)
        RETURN p.price AS price, p.title AS title, p.seller AS seller, b.key AS brand, b.df AS df, c.key AS leaf,
               c.path AS path, top.key AS top, top.df AS above, e.key AS colour, r.source AS source, i.id AS instance,
               i.kind AS kind, i.box AS box, m.uri AS uri, m.width AS width, hub.id AS hub, same.source AS by
        """
    )
    assert found == {
        "price": 2.5,
        "title": "green mug 1",
        "seller": None,
        "brand": "brand:umbria",
        "df": 1,
        "leaf": "category:home > kitchen > mugs",
        "path": ["Home", "Kitchen", "Mugs"],
        "top": "category:home",
        "above": 0,
        "colour": "colour:green",
        "source": "field",
        "instance": "p1#img0",
        "kind": "image",
        "box": [2.0, 3.0, 20.0, 15.0],
        "uri": (tmp_path / "p1.png").as_uri(),
        "width": 30,
        "hub": "p0",
        "by": "identity",
    }
    assert stores.graph.read("MATCH (i:Instance {kind: 'text'}) RETURN count(i) AS n") == [{"n": 2}]


def test_a_changed_row_is_updated_alone(stores: Stores, tmp_path: Path) -> None:
    ingest(stores, write_table(tmp_path, [row(n) for n in range(6)]), tmp_path, MAP)
    before = revisions(stores.graph)
    table = write_table(tmp_path, [row(n) for n in range(4)] + [row(4, colour="teal", price="", brand="Solo"), row(5)])
    assert counts(ingest(stores, table, tmp_path, MAP)) == (6, 0, 1, 5, 0, 0)
    after = revisions(stores.graph)
    assert {id for id in after if after[id] != before[id]} == {"p4"}
    assert after["p4"] > max(before.values())
    [found] = stores.graph.read("MATCH (p:Product {id: 'p4'})-[:MADE_BY]->(b) RETURN p.price AS price, b.key AS brand")
    assert found == {"price": None, "brand": "brand:solo"}
    assert not wrong_counts(stores.graph)
    updated = dump(stores.graph)
    stores.graph.write("MATCH (n) WHERE NOT n:Migration DETACH DELETE n")
    ingest(stores, table, tmp_path, MAP)
    assert dump(stores.graph) == updated


def test_pictures_that_lie_elsewhere_change_nothing_and_other_bytes_do(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    table = write_table(tmp_path / "a", [row(n) for n in range(3)])
    ingest(stores, table, tmp_path / "a", MAP)
    before = revisions(stores.graph)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert counts(ingest(stores, table, tmp_path / "b", MAP)) == (3, 0, 0, 3, 0, 0)
    assert revisions(stores.graph) == before
    uris = {found["uri"] for found in stores.graph.read("MATCH (m:Image) RETURN m.uri AS uri")}
    assert uris == {(tmp_path / "b" / f"p{n}.png").as_uri() for n in range(3)}
    picture(tmp_path / "b" / "p1.png", 999)
    assert counts(ingest(stores, table, tmp_path / "b", MAP)) == (3, 0, 1, 2, 0, 0)
    assert stores.graph.read("MATCH (m:Image) RETURN count(m) AS n") == [{"n": 3}]


def test_every_bad_row_is_named_and_the_rest_goes_on(stores: Stores, tmp_path: Path) -> None:
    rows = [
        row(0),
        row(1, image="corrupt.png"),
        row(2, image="missing.png"),
        row(3, id=""),
        row(0, title="another"),
        row(0),
        row(6, price="cheap"),
        row(7, image="bomb.png"),
        row(8, box="0 0 31 20"),
        row(9, image="../out.png"),
        row(10, brand="Caf?"),
        row(11),
    ]
    (tmp_path / "in").mkdir()
    table = write_table(tmp_path / "in", rows)
    (tmp_path / "in" / "corrupt.png").write_bytes((tmp_path / "in" / "p0.png").read_bytes()[:50])
    (tmp_path / "in" / "missing.png").unlink()
    (tmp_path / "in" / "bomb.png").write_bytes(png_of(60_000, 60_000))
    table.write_bytes(table.read_bytes().replace(b"Caf?", b"Caf\xe9"))
    report = ingest(stores, table, tmp_path / "in", MAP, rejects=tmp_path / "rejects.jsonl")
    assert counts(report) == (12, 2, 0, 1, 9, 0)
    found = {entry["line"]: entry for entry in rejected(tmp_path / "rejects.jsonl")}
    assert [(line, found[line]["id"], found[line]["field"]) for line in sorted(found)] == [
        (3, "p1", "pictures"),
        (4, "p2", "pictures"),
        (5, "", "id"),
        (6, "p0", "id"),
        (8, "p6", "price"),
        (9, "p7", "pictures"),
        (10, "p8", "boxes"),
        (11, "p9", "pictures"),
        (12, "", "brand"),
    ]
    assert "cannot be decoded" in found[3]["rule"]
    assert "missing.png" in found[4]["rule"]
    assert found[6]["rule"] == "line 2 has the same id with other content"
    assert found[8]["value"] == "cheap"
    assert "the limit is 50 megapixels" in found[9]["rule"]
    assert "leads out of" in found[11]["rule"]
    assert found[12] | {"rule": "not valid UTF-8", "value": "Caf\\xe9"} == found[12]
    assert set(revisions(stores.graph)) == {"p0", "p11"}
    assert stores.graph.read("MATCH (n:Image) RETURN count(n) AS n") == [{"n": 2}]
    assert not wrong_counts(stores.graph)


def test_a_rejects_file_that_cannot_be_is_refused_and_the_table_stays(engine: Stores, tmp_path: Path) -> None:
    table = write_table(tmp_path, [row(0)])
    for rejects, says in [
        (tmp_path / "." / table.name, "is the table itself"),
        (tmp_path, "cannot be written"),
        (tmp_path / "nowhere" / "x.jsonl", "cannot be written: .*nowhere"),
    ]:
        with pytest.raises(BadInput, match=says):
            ingest(engine, table, tmp_path, MAP, rejects=rejects)
    assert table.is_file()


def test_rejects_are_strict_json(stores: Stores, tmp_path: Path) -> None:
    table = write_table(tmp_path, [row(0, price="1e400"), row(1, box="nan 0 1 1")])
    ingest(stores, table, tmp_path, MAP, rejects=tmp_path / "rejects.jsonl")
    assert [entry["value"] for entry in rejected(tmp_path / "rejects.jsonl")] == ["inf", ["nan", 0, 1, 1]]


def test_a_rejected_row_leaves_the_product_as_it_was(stores: Stores, tmp_path: Path) -> None:
    ingest(stores, write_table(tmp_path, [row(0), row(1)]), tmp_path, MAP)
    before = dump(stores.graph, revisions=True)
    report = ingest(stores, write_table(tmp_path, [row(0, price="-3"), row(1)]), tmp_path, MAP, sync=True)
    assert counts(report) == (2, 0, 0, 1, 1, 0)
    assert dump(stores.graph, revisions=True) == before


def test_an_unknown_column_is_refused_before_anything_is_written(graph: Graph, engine: Stores, tmp_path: Path) -> None:
    table = write_table(tmp_path, [row(0)])
    table.write_text(table.read_text().replace("price", "Preis", 1))
    with pytest.raises(BadColumnMap, match="unknown column 'price'"):
        ingest(engine, table, tmp_path, MAP)
    assert dump(graph) == []


def test_pictures_that_are_nowhere(stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no pictures at"):
        ingest(stores, write_table(tmp_path, [row(0)]), tmp_path / "gone.zip", MAP)


def test_two_at_once_come_to_the_same_graph(stores: Stores, tmp_path: Path) -> None:
    """Two files with half of their products and all of their entities in common."""
    rows = [row(n) for n in range(60)]
    write_table(tmp_path, rows)  # with all pictures: made by halves, some would be the same in both
    tables = [
        write_table(tmp_path, rows[:40], name="one.csv"),
        write_table(tmp_path, rows[20:], name="two.csv"),
    ]
    few = small_batches(stores, 7)
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda table: ingest(few, table, tmp_path, MAP), tables))
    assert sum(report.written for report in reports) >= 60
    assert not wrong_counts(stores.graph)
    assert sorted(revisions(stores.graph).values()) == sorted(set(revisions(stores.graph).values()))
    both = dump(stores.graph)
    stores.graph.write("MATCH (n) WHERE NOT n:Migration DETACH DELETE n")
    ingest(stores, write_table(tmp_path, rows), tmp_path, MAP)
    assert dump(stores.graph) == both


def test_sync_removes_and_a_removed_product_can_come_back(stores: Stores, tmp_path: Path) -> None:
    rows = [row(n, gtin="same") for n in range(5)]
    ingest(stores, write_table(tmp_path, rows), tmp_path, MAP)
    whole = dump(stores.graph)
    rejects = tmp_path / "rejects.jsonl"
    table = write_table(tmp_path, [*rows[2:4], row(4, gtin="same", price="free")])
    assert counts(ingest(stores, table, tmp_path, MAP)) == (3, 0, 0, 2, 1, 0)  # without sync nothing goes
    report = ingest(stores, table, tmp_path, MAP, sync=True, rejects=rejects)
    assert counts(report) == (3, 0, 0, 2, 1, 2)
    assert set(revisions(stores.graph)) == {"p2", "p3", "p4"}
    hubs = stores.graph.read("MATCH (p:Product)-[:SAME_AS]->(hub) RETURN p.id AS id, hub.id AS hub ORDER BY id")
    assert hubs == [{"id": "p3", "hub": "p2"}, {"id": "p4", "hub": "p2"}]
    gone = stores.graph.read("MATCH (r:Removed) RETURN r.id AS id, r.revision AS revision ORDER BY id")
    assert [found["id"] for found in gone] == ["p0", "p1"]
    assert min(found["revision"] for found in gone) > max(revisions(stores.graph).values())
    assert stores.graph.read("MATCH (i:Instance) RETURN count(i) AS n") == [{"n": 6}]
    assert stores.graph.read("MATCH (e:Entity {key: 'colour:green'}) RETURN e.df AS df") == []
    assert not wrong_counts(stores.graph)
    ingest(stores, write_table(tmp_path, rows), tmp_path, MAP)
    assert dump(stores.graph) == whole
    assert stores.graph.read("MATCH (r:Removed) RETURN r.id AS id") == []


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_groups_are_the_same_however_they_came(stores: Stores, tmp_path: Path, batch: int) -> None:
    few = small_batches(stores, batch)
    for groups in ("aabba.cc", "bab.aacc", "bbb.aadd"):  # one letter a listing: some move, some stay, one has none
        rows = [row(n, gtin=group.strip(".")) for n, group in reversed(list(enumerate(groups)))]
        ingest(few, write_table(tmp_path, rows), tmp_path, MAP)
        hubs = {
            found["id"]: found["hub"]
            for found in stores.graph.read("MATCH (p:Product)-[r:SAME_AS]->(hub) RETURN p.id AS id, hub.id AS hub")
        }
        assert hubs == {
            f"p{n}": f"p{groups.index(group)}"
            for n, group in enumerate(groups)
            if group != "." and groups.index(group) < n
        }
        assert not wrong_counts(stores.graph)


def test_sync_is_careful(stores: Stores, tmp_path: Path) -> None:
    ingest(stores, write_table(tmp_path, [row(n) for n in range(4)]), tmp_path, MAP)
    report = ingest(stores, write_table(tmp_path, [row(0), row(1, id="")]), tmp_path, MAP, sync=True)
    assert report.sync_skipped
    assert counts(report) == (2, 0, 0, 1, 1, 0)
    with pytest.raises(BadInput, match="would remove the whole catalogue"):
        ingest(stores, write_table(tmp_path, []), tmp_path, MAP, sync=True)
    assert len(revisions(stores.graph)) == 4


INGEST = """
import sys
from pathlib import Path
from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import ingest
from kg.settings import load_settings
from kg.stores import open_stores
with open_stores(load_settings()) as stores:
    table, images, column_map = map(Path, sys.argv[1:])
    ingest(stores, table, images, ColumnMap.load(column_map), progress=lambda report: print(report.read, flush=True))
"""


def test_killed_in_the_middle_and_run_again(stores: Stores, settings: Settings, sample: SamplePaths) -> None:
    column_map = ColumnMap.load(sample.map)
    named = {"home": settings.home, "batch_rows": 8, "vectors_uri": stores.vectors_uri}
    if settings.graph_uri:
        named |= {
            "graph_uri": settings.graph_uri,
            "graph_user": settings.graph_user,
            "graph_password": settings.graph_password.get_secret_value(),
        }
    environment = os.environ | {f"SKUGRAPH_{name.upper()}": str(value) for name, value in named.items()}
    paths = map(str, (sample.table, sample.images, sample.map))
    process = subprocess.Popen(
        [sys.executable, "-c", INGEST, *paths], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 32:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    total = len(sample.table.read_text().splitlines()) - 1
    assert 0 < len(revisions(stores.graph)) < total
    ingest(stores, sample.table, sample.images, column_map)
    again = dump(stores.graph)
    stores.graph.write("MATCH (n) WHERE NOT n:Migration DETACH DELETE n")
    ingest(stores, sample.table, sample.images, column_map)
    assert dump(stores.graph) == again


@pytest.mark.slow
def test_servers_killed_in_the_middle_heal(embedded: Stores, sample: SamplePaths, tmp_path: Path) -> None:
    """kill -9 of the graph and the vectors' server while rows pass."""
    column_map = ColumnMap.load(sample.map)
    settings = embedded.settings.model_copy(update={"home": tmp_path / "home", "batch_rows": 12, "vectors_uri": None})
    killed: list[str] = []

    def kill(report: IngestReport) -> None:
        if report.read >= 24 and not killed:
            for name, service in (running(stores.home) or {}).items():
                os.kill(service["pid"], signal.SIGKILL)
                killed.append(name)

    try:
        with open_stores(settings) as stores:
            report = ingest(stores, sample.table, sample.images, column_map, progress=kill)
            assert sorted(killed) == ["graph", "vectors"]
            assert report.rejected == 0
            disturbed = dump(stores.graph)
            assert not wrong_counts(stores.graph)
            stores.graph.write("MATCH (n) WHERE NOT n:Migration DETACH DELETE n")
            ingest(stores, sample.table, sample.images, column_map)
            assert dump(stores.graph) == disturbed
            assert stores.vectors.collections() == []
    finally:
        stop_stores(stores.home)
