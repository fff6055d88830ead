"""One way to any Milvus: asks again while a server is away, loads what a restart left out, mends what a crash tore."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, TypeVar

import grpc
from pymilvus import MilvusClient, MilvusException

from kg.errors import NotFound, StoreDown
from kg.tracing import span
from kg.vectors.schema import VECTOR

__all__ = ["Connection"]

RECONNECT_S = 30.0  # a server that was killed is up again by then, on a busy machine too; all requests may be repeated
LOAD_TRIES = 5
NO_COLLECTION = 100
NOT_LOADED = 101
CONNECT_FAILED = 2

# Every error is raised; pymilvus would print a traceback of each besides.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)

T = TypeVar("T")


class Connection:
    """A `MilvusClient` whose requests survive a restart of the server. Threads may share it.

    Args:
        uri: http address of a Milvus server or of `milvus-lite server`.
        token: "user:password", or empty.
        timeout_s: longest run of one request, in seconds.

    Raises:
        StoreDown: the server does not answer; every method may raise it, after trying again for some seconds.
    """

    def __init__(self, uri: str, token: str, *, timeout_s: float) -> None:
        self.address, self.timeout_s = uri, timeout_s
        # pymilvus pings every 10 s; a server that takes this for abuse cuts an idle connection ("too_many_pings").
        quiet = {"grpc.keepalive_time_ms": 300_000, "grpc.keepalive_permit_without_calls": 0}
        patience = min(timeout_s, RECONNECT_S)
        self.client = self.reached(lambda: MilvusClient(uri, token=token, timeout=patience, grpc_options=quiet))

    @cached_property
    def version(self) -> str:
        """What the server calls itself, e.g. "milvus_lite-3.2.2" or "v2.6.4"."""
        return str(self.request("get_server_version"))

    @property
    def engine(self) -> Literal["milvus_lite", "milvus"]:
        return "milvus_lite" if self.version.startswith("milvus_lite") else "milvus"

    def index(self) -> Any:
        """Parameters of the vector index: exact on Lite, whose graph indexes lose filtered hits."""
        index = MilvusClient.prepare_index_params()
        if self.engine == "milvus_lite":
            index.add_index(VECTOR, index_type="FLAT", metric_type="COSINE")
        else:
            index.add_index(VECTOR, index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
        return index

    def request(self, method: str, *args: Any, **options: Any) -> Any:
        """What that method of the client returns.

        Raises:
            NotFound: it is about a collection that does not exist.
            pymilvus.MilvusException: the server refuses it.
        """
        try:
            with span(f"vectors {method}", **{"db.system.name": "milvus", "db.collection.name": str(*args[:1])}):
                return self.reached(lambda: getattr(self.client, method)(*args, timeout=self.timeout_s, **options))
        except MilvusException as error:
            if "collection" in str(error) and (error.code == NO_COLLECTION or "collection not found" in str(error)):
                raise NotFound(f"no collection {args[0]!r} in the vector store at {self.address}") from error
            raise

    def loaded(self, method: str, collection: str, **options: Any) -> Any:
        """As `request`, for what needs the collection in memory: loads it where a restart has left it out."""
        try:
            return self.request(method, collection, **options)
        except MilvusException as error:
            if error.code != NOT_LOADED and "not loaded" not in str(error):
                raise
        self._load(collection)
        return self.request(method, collection, **options)

    def _load(self, collection: str) -> None:
        for attempt in range(LOAD_TRIES):
            try:
                self.request("load_collection", collection)
                return
            except MilvusException:  # a load can race with Lite's index writer
                time.sleep(0.2 * (attempt + 1))
        indexed = bool(self.request("list_indexes", collection))
        if not indexed or self.engine == "milvus_lite":
            # A crash came before the index was asked for, or tore its file. The rows are safe: build the index anew.
            logging.getLogger(__name__).warning("rebuilding the index of %s, which does not load", collection)
            self.request("release_collection", collection)
            if indexed:
                self.request("drop_index", collection, VECTOR)
            self.request("create_index", collection, self.index())
        self.request("load_collection", collection)

    def reached(self, work: Callable[[], T]) -> T:
        """Result of `work`, tried again for RECONNECT_S while the server does not answer."""
        until = time.monotonic() + min(RECONNECT_S, self.timeout_s)
        pause = 0.1
        while True:
            try:
                return work()
            except (MilvusException, grpc.RpcError) as error:
                if not _is_down(error):
                    raise
                if time.monotonic() + pause > until:
                    raise StoreDown("vectors", self.address, _first_line(error)) from error
            time.sleep(pause)
            pause = min(2 * pause, 1.0)


def _is_down(error: MilvusException | grpc.RpcError) -> bool:
    if isinstance(error, grpc.RpcError):
        return True
    return error.code in (CONNECT_FAILED, grpc.StatusCode.UNAVAILABLE) or "Retry timeout" in str(error)


def _first_line(error: BaseException) -> str:
    return (getattr(error, "message", "") or str(error)).splitlines()[0]
