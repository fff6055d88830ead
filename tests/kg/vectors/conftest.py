"""A Milvus Lite server that a test may kill, and stores over it and, where one is named, over a Milvus server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from kg.vectors.client import VectorStore


class LiteServer:
    """`milvus-lite server` over one folder and port, started, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [Path(sys.executable).parent / "milvus-lite", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--data-dir", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteServer]:
    server = LiteServer(tmp_path_factory.mktemp("lite"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["lite", pytest.param("server", marks=pytest.mark.milvus_server)])
def vectors(request: pytest.FixtureRequest) -> Iterator[VectorStore]:
    """A store with a prefix of its own, whose collections and alias are removed afterwards."""
    uri = request.getfixturevalue("lite").uri if request.param == "lite" else os.environ.get("SKUGRAPH_TEST_MILVUS_URI")
    if not uri:
        pytest.skip("SKUGRAPH_TEST_MILVUS_URI names no Milvus server")
    store = VectorStore(uri, prefix=f"test_{uuid.uuid4().hex[:8]}", timeout_s=30)
    yield store
    for collection in store.collections():
        for alias in store.connection.client.list_aliases(collection)["aliases"]:
            store.connection.client.drop_alias(alias)
        store.drop(collection)
    store.close()
