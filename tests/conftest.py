"""Both stores for every test that asks: the graph twice (embedded, and genuine Neo4j where there is one), never a fake.

A Neo4j server is named by SKUGRAPH_TEST_NEO4J_URI (with _USER, _PASSWORD), or started from the jars below
SKUGRAPH_TEST_NEO4J_HOME. Its database is wiped: name one that holds nothing of value.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pymilvus import MilvusClient, MilvusException

from kg.graph.driver import Graph
from kg.home import Home
from kg.migrate import migrate
from kg.settings import Settings, load_settings
from kg.stores import Stores, open_stores, stop_stores
from tests.neo4j_server import Neo4jServer

# Several test processes share the cores, and each may have a worker. Threads of one that wait for each other while
# another computes made trainings up to twelve times slower. Before torch is imported; child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
for name in [name for name in os.environ if name.startswith("SKUGRAPH_") and not name.startswith("SKUGRAPH_TEST_")]:
    del os.environ[name]  # the settings of whoever runs the tests are not the tests' settings

ENGINES = ["arcadedb", pytest.param("neo4j", marks=pytest.mark.neo4j)]


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """The embedded stores of one home, for the whole session; tests want `stores` or `graph`."""
    home = Home(tmp_path_factory.mktemp("home"))
    try:
        with open_stores(load_settings(home=home.root, stores_linger_s=5, graph_heap="512m")) as stores:
            yield stores
    finally:
        stop_stores(home)


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """Settings of a genuine Neo4j server."""
    environment = os.environ.get
    if uri := environment("SKUGRAPH_TEST_NEO4J_URI"):
        password = SecretStr(environment("SKUGRAPH_TEST_NEO4J_PASSWORD", ""))
        user = environment("SKUGRAPH_TEST_NEO4J_USER", "neo4j")
        yield {"graph_uri": uri, "graph_user": user, "graph_password": password}
    elif folder := environment("SKUGRAPH_TEST_NEO4J_HOME"):
        with Neo4jServer(Path(folder), tmp_path_factory.mktemp("neo4j")) as server:
            yield {"graph_uri": server.uri, "graph_user": server.user, "graph_password": SecretStr(server.password)}
    else:
        pytest.skip("no Neo4j server: set SKUGRAPH_TEST_NEO4J_URI or SKUGRAPH_TEST_NEO4J_HOME")


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest, embedded: Stores) -> Iterator[Stores]:
    """The stores with one graph engine, opened once; not wiped."""
    if request.param == "arcadedb":
        yield embedded
        return
    server = request.getfixturevalue("neo4j_server")
    settings = embedded.settings.model_copy(update={**server, "vectors_uri": embedded.vectors_uri})
    with open_stores(settings, checked=False) as stores:
        migrate(stores.graph)
        yield stores


@pytest.fixture
def stores(engine: Stores) -> Stores:
    """Both stores, empty but for the schema; runs on each graph engine."""
    wipe(engine)
    return engine


@pytest.fixture
def graph(engine: Stores) -> Graph:
    """The graph alone, empty but for the schema; runs on each graph engine."""
    wipe_graph(engine.graph)
    return engine.graph


@pytest.fixture
def settings(stores: Stores) -> Settings:
    """Settings that open the same stores again, also in another process."""
    return stores.settings


def apart(stores: Stores, home: Path, **options: Any) -> Stores:
    """The same stores seen from a home of its own, with a broker there unless the options name another."""
    at = stores.graph.at
    settings = load_settings(
        home=Home(home).create().root,
        graph_uri=at.uri,
        graph_user=at.user,
        graph_password=at.password,
        graph_database=at.database,
        vectors_uri=stores.vectors_uri,
        **options,
    )
    return Stores(settings, stores.graph, stores.vectors_uri)


def wipe(stores: Stores) -> None:
    wipe_graph(stores.graph)
    vars(stores).pop("statistics", None)  # its counts go by a counter that now begins anew
    for again in (True, True, False):
        try:
            return wipe_vectors(stores.vectors_uri)
        except MilvusException:  # Lite hangs up on a channel that was idle for long; the next one is new
            if not again:
                raise


def wipe_vectors(uri: str) -> None:
    with contextlib.closing(MilvusClient(uri)) as client:
        for collection in client.list_collections():
            for alias in client.list_aliases(collection)["aliases"]:
                client.drop_alias(alias)
            client.drop_collection(collection)


def wipe_graph(graph: Graph) -> None:
    query = "MATCH (n) WHERE NOT n:Migration WITH n LIMIT 2000 DETACH DELETE n RETURN count(n) AS gone"
    while graph.write(query)[0]["gone"]:
        pass


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests of each tier ran: a tier that was skipped throughout must not look green."""
    tiers = ("neo4j", "milvus_server", "redis", "rabbitmq", "gpu", "browser")
    reports = terminalreporter.stats
    for tier in tiers:
        ran = sum(tier in report.keywords for name in ("passed", "failed") for report in reports.get(name, []))
        skipped = sum(tier in report.keywords for report in reports.get("skipped", []))
        if ran or skipped:
            terminalreporter.write_line(f"tier {tier}: {ran} ran, {skipped} skipped")
