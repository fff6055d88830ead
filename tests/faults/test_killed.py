"""The short run: real processes on loopback, killed with -9 at random under search load while another encoder's
generation is built. Nothing may be lost, doubled or mixed. `make soak` is the long one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from benchmarks.faults.__main__ import killable, open_soak, settings
from benchmarks.faults.rig import Keeper, Rig
from benchmarks.faults.soak import Report, Soak
from kg.migrate import migrate
from kg.settings import load_settings
from kg.stores import open_stores
from tests.conftest import ENGINES
from tests.neo4j_server import Neo4jServer

PRODUCTS, KILLS = 160, 6
START_S = 300.0  # of one Neo4j on a busy machine


def started(server: Neo4jServer) -> subprocess.Popen[bytes]:
    process = server.start(START_S).process
    assert process is not None
    return process


@pytest.fixture(params=ENGINES)
def soak(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Soak]:
    """A rig of this test alone: its servers are ours to kill, Neo4j among them where its jars are named."""
    values = settings(tmp_path, graph_heap="512m", embed_chunk=16)
    servers = {}
    if request.param == "neo4j":
        if not (folder := os.environ.get("SKUGRAPH_TEST_NEO4J_HOME")):
            pytest.skip("a Neo4j server that may be killed: set SKUGRAPH_TEST_NEO4J_HOME")
        (tmp_path / "neo4j").mkdir()
        server = Neo4jServer(Path(folder), tmp_path / "neo4j")
        server.start(START_S)  # the first start makes the password and the schema
        values |= {"graph_uri": server.uri, "graph_user": server.user, "graph_password": SecretStr(server.password)}
        with open_stores(load_settings(**values), checked=False) as stores:
            migrate(stores.graph)
        server.stop()
        servers["graph"] = Keeper("graph", lambda: started(server))
    with Rig(load_settings(**values), servers=servers) as rig:
        yield open_soak(rig, tmp_path, products=PRODUCTS, questions=12)


@pytest.mark.slow
def test_killed_at_random_nothing_is_lost_doubled_or_mixed(soak: Soak) -> None:
    names = killable(soak.rig)
    soak.prepare()
    report = soak.run(KILLS, names, heal=0.4, pause_s=(0.5, 3))
    assert len(report.kills) == KILLS
    assert {kill.name for kill in report.kills} == set(names)
    whole(report)


def whole(report: Report) -> None:
    assert report.searches.searches > 0
    assert {name: one.rows for name, one in report.differences.items()} == dict.fromkeys(report.differences, PRODUCTS)
    assert len(report.differences) == 4, "two generations of two kinds"
    assert report.clean, report.json()


@pytest.mark.slow
def test_two_workers_of_which_either_may_be_killed_lose_nothing(tmp_path: Path) -> None:
    """The new generation is filled by one while the live one follows changes in the other; who dies is replaced."""
    values = settings(tmp_path, graph_heap="512m", embed_chunk=16)
    with Rig(load_settings(**values), workers=2) as rig:
        soak = open_soak(rig, tmp_path, products=PRODUCTS, questions=12, every_s=1.0)
        soak.prepare()
        names = ["worker", "worker 2"]
        assert set(names) <= set(killable(rig))
        report = soak.run(2, names, heal=0.5, pause_s=(0.5, 3))
        assert {kill.name for kill in report.kills} == set(names)
        whole(report)
