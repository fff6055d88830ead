from __future__ import annotations

from pathlib import Path

from benchmarks.ingest import MAP, measure, plain, statements, write_rows
from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import ingest
from kg.stores import Stores
from tests.conftest import wipe_graph
from tests.kg.catalogue.shop import dump


def test_the_driver_alone_makes_the_very_same_graph(stores: Stores, tmp_path: Path) -> None:
    ingest(stores, write_rows(tmp_path / "rows.csv", 40), None, ColumnMap.parse(MAP))
    made = dump(stores.graph, revisions=True)
    wanted = statements(stores)
    wipe_graph(stores.graph)
    assert plain(stores, wanted) > 0
    assert dump(stores.graph, revisions=True) == made


def test_both_are_timed_on_an_empty_graph(stores: Stores, tmp_path: Path) -> None:
    table = write_rows(tmp_path / "rows.csv", 30)
    first, slowest, fastest, again = measure(stores, table, None, ColumnMap.parse(MAP), 3)
    assert first.name.startswith(f"{stores.graph.engine}: rows/s, 30 rows, ")
    assert first.baseline
    assert first.met == (first.value >= 0.9 * first.baseline)
    assert 0 < slowest.value <= fastest.value
    assert again.baseline == first.value
    assert not dump(stores.graph)
