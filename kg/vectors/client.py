"""Instance vectors in Milvus: a server, or Milvus Lite behind its own small server, through one client.

The builds differ in index, flushing and loading; everything above this module sees none of it. On Lite: FLAT only (its
graph indexes lose filtered hits without a word), a flush after bulk writes (unflushed rows slow every search), and
after a restart collections come back unloaded, sometimes with an index file that a crash has torn.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pymilvus import CollectionSchema, DataType, MilvusClient, MilvusException

from kg.errors import BadInput, BadVector, NotFound, StoreDown
from kg.vectors.connection import Connection
from kg.vectors.expressions import and_, isin, not_
from kg.vectors.schema import ARRAY_CAPACITY, FIELDS, VECTOR, complete

__all__ = ["Fetched", "VectorHit", "VectorStore"]

CREATE_TRIES = 10
NO_ALIAS = 1600
WRITE_ROWS = 1000  # rows of one upsert request
ID_CHUNK = 2000  # ids in one filter of a fetch or delete
READ_ROWS = 10_000  # most rows of one reply: a product may have dozens, and a server's messages have a limit
READ_BYTES = 16 << 20  # and most bytes of vectors
FLUSH_ROWS = 1000  # from this many rows at once Lite flushes by itself
BOUND_S = 10.0  # a server's bounded reads are no older than this
MAX_K = 16_384  # the servers' own bound
FLOAT_BYTES = 4
STRING_BYTES = 4  # Milvus counts bytes, the schema characters


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
        self.prefix = prefix
        self.connection = Connection(uri, token, timeout_s=timeout_s)
        self._dims: dict[str, int] = {}
        self._written: dict[str, float] = {}  # collection → when this process last wrote to it

    @property
    def address(self) -> str:
        return self.connection.address

    @property
    def version(self) -> str:
        """What the server calls itself, e.g. "milvus_lite-3.2.2" or "v2.6.4"."""
        return self.connection.version

    @property
    def engine(self) -> Literal["milvus_lite", "milvus"]:
        return self.connection.engine

    def close(self) -> None:
        self.connection.client.close()

    # collections and aliases

    def create(self, collection: str, dim: int) -> None:
        """A collection of the vector schema, loaded; one that exists is left as it is.

        Raises:
            BadVector: it exists with another dimension.
        """
        for left in reversed(range(CREATE_TRIES)):
            if self.exists(collection):
                break
            try:
                self.connection.request(
                    "create_collection",
                    collection,
                    schema=_schema(dim),
                    index_params=self.connection.index(),
                    consistency_level="Bounded",
                )
            except MilvusException as error:
                # Another worker may be at it: on Lite half-made collections are in the way, unseen.
                if not left and "File exists" in str(error):
                    why = f"what a kill or a full disk has left of the collection {collection} is in the way"
                    hint = "stop the embedded stores and start them again (`skugraph up`): that clears it away"
                    raise StoreDown("vectors", self.address, why, hint=hint) from error
                if not left:
                    raise
                time.sleep(0.2)
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
        if aliases := list(self.connection.request("list_aliases", collection)["aliases"]):
            raise BadInput(f"collection {collection} is in use as {', '.join(aliases)}", hint="promote another first")
        self.connection.request("drop_collection", collection)
        self._dims.pop(collection, None)

    def exists(self, collection: str) -> bool:
        return bool(self.connection.request("has_collection", collection))

    def collections(self) -> list[str]:
        """Names with this store's prefix, sorted."""
        names = self.connection.request("list_collections")
        return sorted(name for name in names if name.startswith(f"{self.prefix}_"))

    def dim(self, collection: str) -> int:
        """Length of its vectors.

        Raises:
            NotFound: no such collection.
        """
        if collection not in self._dims:
            fields = self.connection.request("describe_collection", collection)["fields"]
            self._dims[collection] = next(int(f["params"]["dim"]) for f in fields if f["name"] == VECTOR)
        return self._dims[collection]

    def alias_target(self, alias: str) -> str | None:
        """Name of the collection that `alias` points at."""
        try:
            return str(self.connection.request("describe_alias", alias)["collection_name"])
        except MilvusException as error:
            said = str(error)
            if error.code == NO_ALIAS or ("alias" in said and ("does not exist" in said or "not found" in said)):
                return None
            raise  # which may pass: who took it for an alias that is lost would point it elsewhere

    def point_alias(self, alias: str, collection: str) -> None:
        """Let `alias` point at `collection` from now on, in one atomic step.

        Raises:
            NotFound: no such collection.
        """
        if not self.exists(collection):
            raise NotFound(f"no collection {collection!r}")
        self.connection.request("alter_alias" if self.alias_target(alias) else "create_alias", collection, alias)

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
            self.connection.request("upsert", collection, checked[start : start + WRITE_ROWS])
            self._written[collection] = time.monotonic()
        if len(checked) >= FLUSH_ROWS:
            self.flush(collection)
        return len(checked)

    def flush(self, collection: str) -> None:
        """Let Lite put fresh rows where searches are fast; a server knows best by itself when to."""
        if self.engine == "milvus_lite":
            self.connection.request("flush", collection)

    def delete_products(self, collection: str, ids: Iterable[str], *, keep: Iterable[str] = ()) -> int:
        """Remove the instances of these products, but for the instances named in `keep`; how many rows that were."""
        gone, kept = 0, sorted(keep)
        spared = not_(isin("instance_id", kept)) if kept else ""
        for chunk in _chunks(sorted(set(ids)), ID_CHUNK):
            done = self.connection.loaded("delete", collection, filter=and_(isin("product_id", chunk), spared))
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
        found = self.connection.loaded(
            "search",
            collection,
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
        rows = self.rows(collection, product_ids, (VECTOR,))
        return _fetched(sorted(rows, key=lambda row: row["instance_id"]), self.dim(collection))

    def fetch_all(self, collection: str, where: str = "", *, batch: int = 2000) -> Iterator[Fetched]:
        """Every stored vector, in batches; memory stays that of one batch."""
        for found in self.scan(collection, ("instance_id", "product_id", VECTOR), where, batch=batch):
            yield _fetched(found, self.dim(collection))

    def scan(
        self, collection: str, fields: Sequence[str], where: str = "", *, batch: int = 2000
    ) -> Iterator[list[dict[str, Any]]]:
        """These fields of every row, in batches; memory stays that of one batch."""
        self.count(collection)  # a server's iterator takes no consistency level: this waits for what was written last
        rows = self.connection.loaded(
            "query_iterator", collection, batch_size=batch, filter=where, output_fields=list(fields)
        )
        try:
            while found := self.connection.reached(rows.next):
                yield list(found)
        finally:
            rows.close()

    def rows(self, collection: str, product_ids: Iterable[str], fields: Sequence[str]) -> list[dict[str, Any]]:
        """`instance_id`, `product_id` and these fields of the rows of products, everything written so far included."""
        wanted = ["instance_id", "product_id", *fields]
        most = min(READ_ROWS, READ_BYTES // (FLOAT_BYTES * self.dim(collection))) if VECTOR in fields else READ_ROWS
        found: list[dict[str, Any]] = []
        for chunk in _chunks(sorted(set(product_ids)), ID_CHUNK):
            where = isin("product_id", chunk)
            some = self.connection.loaded(
                "query", collection, filter=where, output_fields=wanted, consistency_level="Strong", limit=most
            )
            if len(some) < most:
                found += some
                continue
            for batch in self.scan(collection, wanted, where, batch=most):  # there may be more: page by page
                found += batch
        return found

    def delete_rows(self, collection: str, instance_ids: Iterable[str]) -> None:
        """Remove rows by their key; those that are not there are fine."""
        for chunk in _chunks(sorted(set(instance_ids)), ID_CHUNK):
            self.connection.loaded("delete", collection, filter=isin("instance_id", chunk))
            self._written[collection] = time.monotonic()

    def count(self, collection: str, where: str = "") -> int:
        """Instances that match, everything written so far included."""
        found = self.connection.loaded(
            "query", collection, filter=where, output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(found[0]["count(*)"])

    def _consistency(self, collection: str) -> str:
        """Bounded reads are quick but may be some seconds old; what this process wrote just now it always sees."""
        fresh = time.monotonic() - self._written.get(collection, -BOUND_S) < BOUND_S
        return "Strong" if fresh else "Bounded"

    def _width(self, k: int) -> dict[str, int]:
        """Search parameters: HNSW looks at `ef` candidates, and loses hits where filters leave few of them."""
        return {} if self.engine == "milvus_lite" else {"ef": max(256, 2 * k)}


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
