from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pymilvus import MilvusException

from kg.errors import BadInput, BadVector, NotFound, StoreDown
from kg.vectors.client import VectorStore, _schema
from kg.vectors.expressions import between, eq
from tests.kg.vectors.conftest import LiteServer

DIM = 16


def unit(count: int, seed: int = 0) -> NDArray[np.float32]:
    found = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def rows(matrix: NDArray[np.float32], each: int = 2) -> list[dict[str, object]]:
    """`each` instances for each product; the price of product n is n, unknown for every fifth."""
    return [
        {
            "instance_id": f"p{i // each:04d}#img{i % each}",
            "product_id": f"p{i // each:04d}",
            "vector": vector,
            "price": float(i // each) if i // each % 5 else -1.0,
        }
        for i, vector in enumerate(matrix)
    ]


@pytest.fixture
def filled(vectors: VectorStore) -> tuple[VectorStore, str, NDArray[np.float32]]:
    name, matrix = f"{vectors.prefix}_g1_image", unit(300)
    vectors.create(name, DIM)
    assert vectors.upsert(name, rows(matrix)) == 300
    return vectors, name, matrix


def test_search_ranks_by_cosine(filled: tuple[VectorStore, str, NDArray[np.float32]]) -> None:
    store, name, matrix = filled
    assert store.count(name) == 300
    queries = unit(3, seed=1)
    found = store.search(name, queries, 10)
    for hits, query in zip(found, queries, strict=True):
        best = np.argsort(-(matrix @ query), kind="stable")[:10]
        assert [hit.instance_id for hit in hits] == [f"p{i // 2:04d}#img{i % 2}" for i in best]
        assert [hit.product_id for hit in hits] == [f"p{i // 2:04d}" for i in best]
        np.testing.assert_allclose([hit.score for hit in hits], (matrix @ query)[best], atol=1e-5)


def test_search_under_a_filter_returns_all_that_match(filled: tuple[VectorStore, str, NDArray[np.float32]]) -> None:
    store, name, matrix = filled
    [hits] = store.search(name, matrix[:1], 50, where=between("price", high=8))
    assert {hit.product_id for hit in hits} == {f"p{n:04d}" for n in (1, 2, 3, 4, 6, 7, 8)}
    assert len(hits) == 14
    assert store.count(name, eq("product_id", "p0007")) == 2


def test_upsert_replaces_and_fetch_returns_what_was_written(
    filled: tuple[VectorStore, str, NDArray[np.float32]],
) -> None:
    store, name, matrix = filled
    new = unit(1, seed=9)
    store.upsert(name, rows(new, each=1))  # p0000#img0 again
    fetched = store.fetch(name, ["p0001", "p0000", "nobody"])
    assert fetched.instance_ids == ["p0000#img0", "p0000#img1", "p0001#img0", "p0001#img1"]
    assert fetched.product_ids == ["p0000", "p0000", "p0001", "p0001"]
    np.testing.assert_allclose(fetched.vectors, np.concatenate([new, matrix[1:4]]), atol=1e-6)
    assert store.count(name) == 300
    assert store.fetch(name, []).vectors.shape == (0, DIM)


def test_fetch_all_passes_everything_once(filled: tuple[VectorStore, str, NDArray[np.float32]]) -> None:
    store, name, matrix = filled
    batches = list(store.fetch_all(name, batch=70))
    assert max(len(b.instance_ids) for b in batches) <= 70
    found = {i: v for b in batches for i, v in zip(b.instance_ids, b.vectors, strict=True)}
    assert len(found) == sum(len(b.instance_ids) for b in batches) == 300
    np.testing.assert_allclose(found["p0100#img1"], matrix[201], atol=1e-6)


def test_delete_products_spares_what_is_kept(filled: tuple[VectorStore, str, NDArray[np.float32]]) -> None:
    store, name, _ = filled
    assert store.delete_products(name, ["p0000"]) == 2
    store.delete_products(name, ["p0001", "p0002"], keep=["p0001#img1", "p0002#img0"])
    assert store.fetch(name, ["p0000", "p0001", "p0002", "p0003"]).instance_ids == [
        "p0001#img1",
        "p0002#img0",
        "p0003#img0",
        "p0003#img1",
    ]


@pytest.mark.parametrize(
    ("vector", "says"),
    [
        (np.ones(DIM - 1), "shape (15,)"),
        ([float("nan")] * DIM, "not finite"),
        ([float("inf")] * DIM, "not finite"),
        (np.zeros(DIM), "zero"),
    ],
)
def test_a_bad_vector_is_refused_before_anything_is_written(vectors: VectorStore, vector: object, says: str) -> None:
    name = f"{vectors.prefix}_g1_image"
    vectors.create(name, DIM)
    bad = [*rows(unit(2)), {"instance_id": "x#img0", "product_id": "x", "vector": vector}]
    with pytest.raises(BadVector) as caught:
        vectors.upsert(name, bad)
    assert says in str(caught.value)
    assert "x#img0" in str(caught.value)
    assert vectors.count(name) == 0
    with pytest.raises(BadVector):
        vectors.search(name, np.asarray([vector], dtype=np.float32), 5)


@pytest.mark.parametrize("wrong", [{"colour": "red"}, {"instance_id": ""}, {"product_id": "x" * 129}])
def test_a_row_outside_the_schema_is_refused(vectors: VectorStore, wrong: dict[str, str]) -> None:
    name = f"{vectors.prefix}_g1_image"
    vectors.create(name, DIM)
    with pytest.raises(BadVector, match=next(iter(wrong))):
        vectors.upsert(name, [rows(unit(1))[0] | wrong])


def test_collections_have_one_dimension(vectors: VectorStore) -> None:
    name = f"{vectors.prefix}_g1_image"
    vectors.create(name, DIM)
    vectors.create(name, DIM)
    with pytest.raises(BadVector, match=f"{DIM} dimensions, not 32"):
        vectors.create(name, 32)
    assert vectors.collections() == [name]
    vectors.drop(name)
    vectors.drop(name)
    assert not vectors.exists(name)
    with pytest.raises(NotFound, match=name):
        vectors.search(name, unit(1), 5)


def test_alias_is_flipped_and_guards_its_collection(vectors: VectorStore) -> None:
    alias, first, second = f"{vectors.prefix}_live", f"{vectors.prefix}_g1_image", f"{vectors.prefix}_g2_image"
    assert vectors.alias_target(alias) is None
    with pytest.raises(MilvusException):
        vectors.alias_target("")
    with pytest.raises(NotFound):
        vectors.point_alias(alias, first)
    for name in (first, second):
        vectors.create(name, DIM)
        vectors.point_alias(alias, name)
        assert vectors.alias_target(alias) == name
    with pytest.raises(BadInput, match=alias):
        vectors.drop(second)
    vectors.drop(first)
    assert vectors.collections() == [second]


def test_many_make_the_same_collection_at_once(vectors: VectorStore) -> None:
    name = f"{vectors.prefix}_g1_image"
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: vectors.create(name, DIM), range(6)))
    vectors.upsert(name, rows(unit(4)))
    assert vectors.count(name) == 4
    assert len(vectors.search(name, unit(1), 4)[0]) == 4


def test_a_collection_whose_maker_was_killed_before_the_index_is_mended(vectors: VectorStore) -> None:
    name, matrix = f"{vectors.prefix}_g1_image", unit(4)
    vectors.connection.client.create_collection(name, schema=_schema(DIM))
    vectors.create(name, DIM)
    vectors.upsert(name, rows(matrix))
    vectors.flush(name)
    [hits] = vectors.search(name, matrix[2:3], 1)
    assert hits[0].instance_id == "p0001#img0"
    assert hits[0].score == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("k", [0, 16_385])
def test_k_has_bounds(filled: tuple[VectorStore, str, NDArray[np.float32]], k: int) -> None:
    store, name, matrix = filled
    with pytest.raises(BadInput, match=str(k)):
        store.search(name, matrix[:1], k)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(StoreDown, match=r"vectors store at http://127\.0\.0\.1:9"):
        VectorStore("http://127.0.0.1:9", prefix="x", timeout_s=0.3)


def test_lite_killed_with_torn_index_files_comes_back_whole(tmp_path: Path) -> None:
    server = LiteServer(tmp_path)
    server.start()
    try:
        store = VectorStore(server.uri, prefix="x", timeout_s=30)
        store.create("x_g1_image", DIM)
        matrix = unit(1200)
        store.upsert("x_g1_image", rows(matrix))
        before = store.search("x_g1_image", matrix[:1], 5)
        until = time.monotonic() + 60
        while not (indexes := list(tmp_path.rglob("*.idx"))) and time.monotonic() < until:
            time.sleep(0.05)  # the flush returns before Lite's index writer is done
        assert indexes, "the flush has written an index file to tear"
        server.kill()
        for path in indexes:
            path.write_bytes(path.read_bytes()[:10])
        server.start()
        assert store.search("x_g1_image", matrix[:1], 5) == before
        assert store.count("x_g1_image") == 1200
    finally:
        server.kill()


def test_rows_of_products_come_page_by_page_where_there_are_many(
    filled: tuple[VectorStore, str, NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, name, _ = filled
    products = [f"p{n:04d}" for n in range(150)]
    whole = store.fetch(name, products)
    assert len(whole.instance_ids) == 300
    for most in (7, 100, 299, 300, 301):  # rows of one reply
        monkeypatch.setattr("kg.vectors.client.READ_ROWS", most)
        found = store.rows(name, products, ("price",))
        assert sorted(row["instance_id"] for row in found) == whole.instance_ids, most
        assert {row["price"] for row in found if row["product_id"] == "p0007"} == {7.0}
    monkeypatch.setattr("kg.vectors.client.READ_BYTES", 4 * DIM * 11)  # eleven vectors
    paged = store.fetch(name, products)
    assert paged.instance_ids == whole.instance_ids
    np.testing.assert_array_equal(paged.vectors, whole.vectors)
