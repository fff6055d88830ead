"""The embedded vector store: Milvus Lite as a server, a loopback-only child process that owns its data folder."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from kg.errors import BadSetting
from kg.home import Home

__all__ = ["EmbeddedVectors"]


@dataclass(frozen=True)
class EmbeddedVectors:
    """How to start the server on a home folder, and where it then answers.

    Args:
        home: its `vectors` folder (owner only) holds the data.
        port: free loopback port.
    """

    home: Home
    port: int

    name = "vectors"
    stop_signal = signal.SIGINT  # the one that it takes as a request to close its files

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ports(self) -> dict[str, int]:
        return {"port": self.port}

    @property
    def log(self) -> Path:
        return self.home.log / "vectors.log"

    def command(self) -> list[str]:
        """The command line. What a kill or a full disk has left half-made is cleared away: it would be in the way.

        Raises:
            BadSetting: the server's package is not installed.
        """
        if importlib.util.find_spec("milvus_lite") is None:
            raise BadSetting(
                "the embedded vector store is not installed",
                hint='pip install "skugraph[embedded]", or set vectors_uri',
            )
        for folder in (self.home.vectors / "data" / "collections").glob("*"):
            if (
                folder.is_dir() and not (folder / "schema.json").exists()
            ):  # no collection to the server, yet not nothing
                shutil.rmtree(folder, ignore_errors=True)
        # The host is always named: the default would listen on every interface, and it takes any token.
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self.home.vectors / "data")]
        return [sys.executable, "-m", "milvus_lite", "server", *arguments]

    def answers(self) -> bool:
        """Whether a client gets an answer."""
        from pymilvus import MilvusClient, MilvusException  # takes a second, in which the servers start already

        try:
            client = MilvusClient(self.uri, timeout=2)
        except MilvusException:
            return False
        try:
            client.list_collections()
        except MilvusException:
            return False
        finally:
            client.close()
        return True
