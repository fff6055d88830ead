"""The supervisor and its children: found, shared, healed after kill -9, stopped when nobody needs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from kg.errors import StoreDown
from kg.graph.driver import Graph
from kg.home import Home
from kg.processes import alive
from kg.settings import Settings, load_settings
from kg.stores import Stores, open_stores, running, stop_stores

ROOT = Path(__file__).parents[2]
COUNT = "MATCH (p:Product) RETURN count(p) AS n"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a home that these tests may harm."""
    settings = load_settings(home=tmp_path_factory.mktemp("own"), graph_heap="256m", stores_linger_s=1)
    yield settings
    stop_stores(Home(settings.home))


def until(what: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def python(code: str, settings: Settings) -> subprocess.Popen[str]:
    """Another process on the same home."""
    known = {"SKUGRAPH_GRAPH_HEAP": settings.graph_heap, "SKUGRAPH_STORES_LINGER_S": str(settings.stores_linger_s)}
    command = [sys.executable, "-c", code, str(settings.home)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | known, stdout=subprocess.PIPE, text=True)


def services(stores: Stores) -> dict[str, dict[str, object]]:
    found = running(stores.home)
    assert found is not None
    return found


def kill(stores: Stores, name: str) -> None:
    """kill -9 of one server, then wait until it is up again."""
    before = services(stores)[name]
    os.kill(int(str(before["pid"])), signal.SIGKILL)
    until(lambda: services(stores)[name]["restarts"] == int(str(before["restarts"])) + 1)
    after = services(stores)[name]
    assert (after["uri"], after["pid"] != before["pid"]) == (before["uri"], True)
    said = (stores.home.log / "supervisor.log").read_text()
    assert f"{name} server (pid {before['pid']}) ended with -9: restarting" in said


def test_stores_not_started_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreDown, match="does not run"), open_stores(load_settings(home=tmp_path), start=False):
        pass
    assert running(Home(tmp_path)) is None


@pytest.mark.slow
def test_processes_that_open_together_share_one_supervisor(own: Settings) -> None:
    code = (
        "import sys; from kg.settings import load_settings; from kg.stores import open_stores, running\n"
        "with open_stores(load_settings(home=sys.argv[1])) as stores:\n"
        "    print(sorted((n, s['pid']) for n, s in running(stores.home).items()), stores.graph.read('RETURN 1 AS n'))"
    )
    clients = [python(code, own) for _ in range(4)]
    said = {client.communicate(timeout=120)[0] for client in clients}
    assert [client.returncode for client in clients] == [0] * 4
    assert len(said) == 1
    assert "[{'n': 1}]" in said.pop()


@pytest.mark.slow
def test_graph_killed_loses_nothing_committed(own: Settings) -> None:
    with open_stores(own) as stores:
        write = "UNWIND range(1, 200) AS i MERGE (:Product {id: $prefix + toString(i)})"
        for turn in range(2):
            for batch in range(5):
                stores.graph.write(write, prefix=f"{turn}-{batch}-")
            kill(stores, "graph")
            assert stores.graph.read(COUNT) == [{"n": 1000 * (turn + 1)}]  # the same Graph object goes on


@pytest.mark.slow
def test_graph_killed_in_the_middle_of_writing(own: Settings) -> None:
    """A writer notices nothing but a pause: its transactions are retried until the server is back."""
    with open_stores(own) as stores:
        stores.graph.write("MATCH (p:Product) DETACH DELETE p")
        before = services(stores)["graph"]
        writing = Graph(stores.graph.at, batch_rows=5)  # many commits: the kill meets one of them at any stage
        timer = threading.Timer(0.5, os.kill, (int(str(before["pid"])), signal.SIGKILL))
        timer.start()
        rows = ({"id": f"p{i:05d}"} for i in range(4000))
        assert writing.write_rows("UNWIND $rows AS row MERGE (:Product {id: row.id})", rows) == 4000
        timer.join()
        until(lambda: services(stores)["graph"]["restarts"] != before["restarts"])
        assert stores.graph.read(COUNT) == [{"n": 4000}]
        writing.close()


def test_vectors_killed_lose_nothing_flushed(own: Settings) -> None:
    with open_stores(own) as stores:
        store = stores.vectors  # it heals an index file that the kill has torn
        store.create("skugraph_kept_image", 4)
        rows = [{"instance_id": f"i{n}", "product_id": "p", "vector": np.array([1, n, 2, 3])} for n in range(500)]
        store.upsert("skugraph_kept_image", rows)
        store.flush("skugraph_kept_image")
        kill(stores, "vectors")
        assert store.count("skugraph_kept_image") == 500


@pytest.mark.slow
def test_stop_when_the_last_client_left_even_by_kill(own: Settings) -> None:
    code = (
        "import sys, time; from kg.settings import load_settings; from kg.stores import open_stores\n"
        "with open_stores(load_settings(home=sys.argv[1])):\n    print('open', flush=True); time.sleep(600)"
    )
    client = python(code, own)
    assert client.stdout is not None
    assert client.stdout.readline() == "open\n"
    home = Home(own.home)
    state = home.read_run("stores")
    assert state is not None
    time.sleep(2.5)  # longer than stores_linger_s: the lease holds them
    assert alive(state["pid"], state["started"])
    client.kill()
    client.communicate()
    until(lambda: not alive(state["pid"], state["started"]))
    assert running(home) is None
    for service in state["services"].values():
        assert not alive(service["pid"], service["started"])


@pytest.mark.slow
def test_children_die_with_a_killed_supervisor_and_data_stays(own: Settings) -> None:
    with open_stores(own) as stores:
        stores.graph.write("MERGE (:Product {id: 'kept'})")
        state = stores.home.read_run("stores")
        assert state is not None
        psutil.Process(state["pid"]).kill()
        until(lambda: not any(alive(s["pid"], s["started"]) for s in state["services"].values()))
        with pytest.raises(StoreDown, match="does not run"), open_stores(own, start=False):
            pass
        with open_stores(own) as again:
            assert again.graph.read("MATCH (p:Product {id: 'kept'}) RETURN p.id AS id") == [{"id": "kept"}]
            assert again.graph.address == stores.graph.address  # on the ports of before: old clients find it too
        assert stores.graph.read("MATCH (p:Product {id: 'kept'}) RETURN p.id AS id") == [{"id": "kept"}]


def test_start_that_fails_says_why(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, graph_heap="1m")  # Java refuses so small a heap
    with pytest.raises(StoreDown, match="heap"), open_stores(settings):
        pass
    assert running(Home(tmp_path)) is None


def test_only_the_owner_may_read_passwords(own: Settings) -> None:
    home = Home(own.home)
    files = [home.graph / "root.password", home.graph / "reader.password"]
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}
    for folder in (home.root, home.graph, home.vectors, home.run):
        assert oct(folder.stat().st_mode & 0o077) == "0o0"
