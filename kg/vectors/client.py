"""Instance vectors in Milvus: a server, or Milvus Lite behind its own small server, through one client.

The builds differ in index, flushing and loading; everything above this module sees none of it. On Lite: FLAT only (its
graph indexes lose filtered hits without a word), a flush after bulk writes (unflushed rows slow every search), and
after a restart collections come back unloaded, sometimes with an index file that a crash has torn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray
from pymilvus import CollectionSchema, DataType, MilvusClient, MilvusException

from kg.errors import BadInput, BadVector, NotFound, StoreDown
from kg.vectors.expressions import and_, isin, not_
from kg.vectors.schema import ARRAY_CAPACITY, FIELDS, VECTOR, complete

__all__ = ["Fetched", "VectorHit", "VectorStore"]

RECONNECT_S = 10.0  # a server that was killed is up again by then; all requests here may be repeated
LOAD_TRIES = 5
WRITE_ROWS = 1000  # rows of one upsert request
ID_CHUNK = 2000  # ids in one filter of a fetch or delete
FLUSH_ROWS = 1000  # from this many rows at once Lite flushes by itself
BOUND_S = 10.0  # a server's bounded reads are no older than this
MAX_K = 16_384  # the servers' own bound
STRING_BYTES = 4  # Milvus counts bytes, the schema characters
NO_COLLECTION = 100
NOT_LOADED = 101
CONNECT_FAILED = 2

# Every error is raised; pymilvus would print a traceback of each besides.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VectorHit:
    """One instance that a search found; `score` is the cosine, higher is nearer."""

    instance_id: str
    product_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Fetched:
    """Stored vectors (N, dim) float32, row i belonging to `instance_ids[i]` of `product_ids[i]`."""

    instance_ids: list[str]
    product_ids: list[str]
    vectors: NDArray[np.float32]


class VectorStore:
    """One connection, shared by the threads of a process.

    Args:
        uri: http address of a Milvus server or of `milvus-lite server`.
        token: "user:password", or empty.
        prefix: first part of every collection and alias name; `collections` lists no others.
        timeout_s: longest run of one request, in seconds.

    Raises:
        StoreDown: the server does not answer; every method may raise it, after trying again for some seconds.
    """

    def __init__(self, uri: str, token: str = "", *, prefix: str, timeout_s: float = 60) -> None:
        self.address, self.prefix, self.timeout_s = uri, prefix, timeout_s
        self._dims: dict[str, int] = {}
        self._written: dict[str, float] = {}  # collection → when this process last wrote to it
        # pymilvus pings every 10 s; a server that takes this for abuse cuts an idle connection ("too_many_pings").
        quiet = {"grpc.keepalive_time_ms": 300_000, "grpc.keepalive_permit_without_calls": 0}
        patience = min(timeout_s, RECONNECT_S)
        self._client = self._reached(lambda: MilvusClient(uri, token=token, timeout=patience, grpc_options=quiet))

    @cached_property
    def version(self) -> str:
        """What the server calls itself, e.g. "milvus_lite-3.2.2" or "v2.6.4"."""
        return self._reached(lambda: self._client.get_server_version(timeout=self.timeout_s))

    @property
    def engine(self) -> Literal["milvus_lite", "milvus"]:
        return "milvus_lite" if self.version.startswith("milvus_lite") else "milvus"

    def close(self) -> None:
        self._client.close()

    # collections and aliases

    def create(self, collection: str, dim: int) -> None:
        """A collection of the vector schema, loaded; one that exists is left as it is.

        Raises:
            BadVector: it exists with another dimension.
        """
        if not self.exists(collection):
            try:
                self._request(
                    collection,
                    "create_collection",
                    schema=_schema(dim),
                    index_params=self._index(),
                    consistency_level="Bounded",
                )
            except MilvusException:
                if not self.exists(collection):  # else another worker was quicker
                    raise
        self._dims.pop(collection, None)  # it may have been dropped and made again since it was last seen
        if (found := self.dim(collection)) != dim:
            raise BadVector(f"collection {collection} holds {found} dimensions, not {dim}")

    def drop(self, collection: str) -> None:
        """Remove a collection and its vectors; one that does not exist is fine.

        Raises:
            BadInput: an alias points at it (the servers would drop it under the alias).
        """
        if not self.exists(collection):
            return
        if aliases := list(self._request(collection, "list_aliases")["aliases"]):
            raise BadInput(f"collection {collection} is in use as {', '.join(aliases)}", hint="promote another first")
        self._request(collection, "drop_collection")
        self._dims.pop(collection, None)

    def exists(self, collection: str) -> bool:
        return bool(self._request(collection, "has_collection"))

    def collections(self) -> list[str]:
        """Names with this store's prefix, sorted."""
        names = self._reached(lambda: self._client.list_collections(timeout=self.timeout_s))
        return sorted(name for name in names if name.startswith(f"{self.prefix}_"))

    def dim(self, collection: str) -> int:
        """Length of its vectors.

        Raises:
            NotFound: no such collection.
        """
        if collection not in self._dims:
            fields = self._request(collection, "describe_collection")["fields"]
            self._dims[collection] = next(int(f["params"]["dim"]) for f in fields if f["name"] == VECTOR)
        return self._dims[collection]

    def alias_target(self, alias: str) -> str | None:
        """Name of the collection that `alias` points at."""
        try:
            return str(
                self._reached(lambda: self._client.describe_alias(alias, timeout=self.timeout_s))["collection_name"]
            )
        except MilvusException:  # _reached has sorted out a server that is down; what is left is "no such alias"
            return None

    def point_alias(self, alias: str, collection: str) -> None:
        """Let `alias` point at `collection` from now on, in one atomic step.

        Raises:
            NotFound: no such collection.
        """
        if not self.exists(collection):
            raise NotFound(f"no collection {collection!r}")
        flip = self._client.alter_alias if self.alias_target(alias) else self._client.create_alias
        self._reached(lambda: flip(collection, alias, timeout=self.timeout_s))

    # rows

    def upsert(self, collection: str, rows: Sequence[dict[str, Any]]) -> int:
        """Write rows of the vector schema (`kg.vectors.schema`), replacing those of the same `instance_id`.

        All rows are checked before the first is written. Lite flushes where many rows come at once; after many small
        calls it is for the caller to `flush`.

        Raises:
            BadVector: wrong dimension, not finite, zero, or a row that breaks the schema.
        """
        dim = self.dim(collection)
        checked = [complete(row) for row in rows]
        for row in checked:
            row[VECTOR] = _checked(row[VECTOR], dim, f"{row['instance_id']} in {collection}")
        for start in range(0, len(checked), WRITE_ROWS):
            self._request(collection, "upsert", checked[start : start + WRITE_ROWS])
            self._written[collection] = time.monotonic()
        if len(checked) >= FLUSH_ROWS:
            self.flush(collection)
        return len(checked)

    def flush(self, collection: str) -> None:
        """Let Lite put fresh rows where searches are fast; a server knows best by itself when to."""
        if self.engine == "milvus_lite":
            self._request(collection, "flush")

    def delete_products(self, collection: str, ids: Iterable[str], *, keep: Iterable[str] = ()) -> int:
        """Remove the instances of these products, but for the instances named in `keep`; how many rows that were."""
        gone, kept = 0, sorted(keep)
        spared = not_(isin("instance_id", kept)) if kept else ""
        for chunk in _chunks(sorted(set(ids)), ID_CHUNK):
            done = self._loaded(collection, "delete", filter=and_(isin("product_id", chunk), spared))
            self._written[collection] = time.monotonic()
            gone += len(done) if isinstance(done, list) else int(done.get("delete_count", 0))
        return gone

    def search(self, collection: str, vectors: NDArray[np.float32], k: int, where: str = "") -> list[list[VectorHit]]:
        """The `k` nearest instances of each of the vectors (N, dim), best first; equal scores by instance id.

        `where` is an expression of `kg.vectors.expressions`; empty lets everything through.

        Raises:
            BadVector: wrong dimension, not finite, or zero.
            BadInput: k is not within 1 and 16,384.
            NotFound: no such collection.
        """
        if not 1 <= k <= MAX_K:
            raise BadInput(f"k = {k}: a vector search returns 1 to {MAX_K} instances")
        dim = self.dim(collection)
        queries = [_checked(vector, dim, f"query of {collection}").tolist() for vector in vectors]
        if not queries:
            return []
        found = self._loaded(
            collection,
            "search",
            data=queries,
            anns_field=VECTOR,
            limit=k,
            filter=where,
            search_params={"metric_type": "COSINE", "params": self._width(k)},
            output_fields=["instance_id", "product_id"],
            consistency_level=self._consistency(collection),
        )
        ranked = (
            (VectorHit(hit["entity"]["instance_id"], hit["entity"]["product_id"], hit["distance"]) for hit in h)
            for h in found
        )
        return [sorted(hits, key=lambda hit: (-hit.score, hit.instance_id)) for hits in ranked]

    def fetch(self, collection: str, product_ids: Iterable[str]) -> Fetched:
        """Stored vectors of these products, by instance id; products without any are simply not there."""
        rows: list[dict[str, Any]] = []
        for chunk in _chunks(sorted(set(product_ids)), ID_CHUNK):
            rows += self._loaded(
                collection,
                "query",
                filter=isin("product_id", chunk),
                output_fields=["instance_id", "product_id", VECTOR],
                consistency_level="Strong",
            )
        return _fetched(sorted(rows, key=lambda row: row["instance_id"]), self.dim(collection))

    def fetch_all(self, collection: str, where: str = "", *, batch: int = 2000) -> Iterator[Fetched]:
        """Every stored vector, in batches; memory stays that of one batch."""
        self.count(collection)  # a server's iterator takes no consistency level: this waits for what was written last
        rows = self._loaded(
            collection,
            "query_iterator",
            batch_size=batch,
            filter=where,
            output_fields=["instance_id", "product_id", VECTOR],
        )
        try:
            while found := self._reached(rows.next):
                yield _fetched(found, self.dim(collection))
        finally:
            rows.close()

    def count(self, collection: str, where: str = "") -> int:
        """Instances that match, everything written so far included."""
        found = self._loaded(collection, "query", filter=where, output_fields=["count(*)"], consistency_level="Strong")
        return int(found[0]["count(*)"])

    # the builds' differences, and servers that come and go

    def _index(self) -> Any:
        index = MilvusClient.prepare_index_params()
        if self.engine == "milvus_lite":
            index.add_index(VECTOR, index_type="FLAT", metric_type="COSINE")
        else:
            index.add_index(VECTOR, index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
        return index

    def _consistency(self, collection: str) -> str:
        """Bounded reads are quick but may be some seconds old; what this process wrote just now it always sees."""
        fresh = time.monotonic() - self._written.get(collection, -BOUND_S) < BOUND_S
        return "Strong" if fresh else "Bounded"

    def _width(self, k: int) -> dict[str, int]:
        """Search parameters: HNSW looks at `ef` candidates, and loses hits where filters leave few of them."""
        return {} if self.engine == "milvus_lite" else {"ef": max(256, 2 * k)}

    def _request(self, collection: str, method: str, *args: Any, **options: Any) -> Any:
        """One request about a collection."""
        try:
            return self._reached(
                lambda: getattr(self._client, method)(collection, *args, timeout=self.timeout_s, **options)
            )
        except MilvusException as error:
            if error.code == NO_COLLECTION or "collection not found" in str(error):
                raise NotFound(f"no collection {collection!r} in the vector store at {self.address}") from error
            raise

    def _loaded(self, collection: str, method: str, **options: Any) -> Any:
        """One request that needs the collection in memory; loads it where a restart has left it out."""
        try:
            return self._request(collection, method, **options)
        except MilvusException as error:
            if error.code != NOT_LOADED and "not loaded" not in str(error):
                raise
        self._load(collection)
        return self._request(collection, method, **options)

    def _load(self, collection: str) -> None:
        for attempt in range(LOAD_TRIES):
            try:
                self._request(collection, "load_collection")
                return
            except MilvusException:  # a load can race with Lite's index writer
                time.sleep(0.2 * (attempt + 1))
        indexed = bool(self._request(collection, "list_indexes"))
        if not indexed or self.engine == "milvus_lite":
            # A crash came before the index was asked for, or tore its file. The rows are safe: build the index anew.
            logging.getLogger(__name__).warning("rebuilding the index of %s, which does not load", collection)
            self._request(collection, "release_collection")
            if indexed:
                self._request(collection, "drop_index", VECTOR)
            self._request(collection, "create_index", self._index())
        self._request(collection, "load_collection")

    def _reached(self, work: Callable[[], T]) -> T:
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


def _schema(dim: int) -> CollectionSchema:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    for name, field in FIELDS.items():
        size = {"max_length": field.limit * STRING_BYTES}
        if field.kind == "texts":
            array: dict[str, Any] = {"element_type": DataType.VARCHAR, "max_capacity": ARRAY_CAPACITY, **size}
            schema.add_field(name, DataType.ARRAY, **array)
        elif field.kind in ("key", "text"):
            schema.add_field(name, DataType.VARCHAR, is_primary=name == "instance_id", **size)
        else:
            schema.add_field(name, DataType.DOUBLE if field.kind == "double" else DataType.INT64)
    schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dim)
    return schema


def _is_down(error: MilvusException | grpc.RpcError) -> bool:
    if isinstance(error, grpc.RpcError):
        return True
    return error.code in (CONNECT_FAILED, grpc.StatusCode.UNAVAILABLE) or "Retry timeout" in str(error)


def _first_line(error: BaseException) -> str:
    return (getattr(error, "message", "") or str(error)).splitlines()[0]


def _checked(vector: Any, dim: int, whose: str) -> NDArray[np.float32]:
    array = np.asarray(vector, dtype=np.float32)
    if array.shape != (dim,):
        raise BadVector(f"vector of {whose} has shape {array.shape}, the collection expects ({dim},)")
    if not np.isfinite(array).all():
        raise BadVector(f"vector of {whose} has {int((~np.isfinite(array)).sum())} values that are not finite")
    if not array.any():
        raise BadVector(f"vector of {whose} is zero: it has no direction to compare")
    return array


def _fetched(rows: Sequence[dict[str, Any]], dim: int) -> Fetched:
    vectors = np.asarray([row[VECTOR] for row in rows], dtype=np.float32).reshape(len(rows), dim)
    return Fetched([row["instance_id"] for row in rows], [row["product_id"] for row in rows], vectors)


def _chunks(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (values[start : start + size] for start in range(0, len(values), size))
