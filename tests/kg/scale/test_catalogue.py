from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from kg.errors import BadInput
from kg.scale.catalogue import SHARD, Scale
from kg.scale.words import made_up


def test_equal_seeds_give_equal_catalogues_and_others_do_not() -> None:
    first, again, other = Scale(300, dim=16), Scale(300, dim=16), Scale(300, seed=8, dim=16)
    assert first.products(0) == again.products(0)
    assert (first.vectors(0) == again.vectors(0)).all()
    assert first.edges().keys == again.edges().keys
    assert first.products(0) != other.products(0)
    assert first.key == again.key != other.key


def test_a_small_catalogue_begins_a_large_one() -> None:
    small, large = Scale(SHARD + 40, dim=8, brands=60), Scale(3 * SHARD, dim=8, brands=60)
    assert small.shards == 2
    assert small.products(1) == large.products(1)[:40]
    assert (small.vectors(1) == large.vectors(1)[:40]).all()
    assert small.place(small.products(1)[7].id) == (1, 7)


def test_few_are_frequent_and_products_have_offers() -> None:
    products = Scale(SHARD, dim=4).products(0)
    assert len({product.id for product in products}) == SHARD
    brands = [n for _, n in Counter(product.brand for product in products).most_common()]
    assert brands[0] > 5 * brands[len(brands) // 2]
    offers = Counter(Counter(product.identity for product in products).values())
    assert set(offers) == {1, 2, 3, 4, 5}
    by_identity = {}
    for product in products:
        by_identity.setdefault(product.identity, set()).add((product.title, product.category, product.attributes))
    assert all(len(same) == 1 for same in by_identity.values())
    assert len({product.category for product in products}) > 100


def test_vectors_are_nearer_within_a_leaf_and_nearest_within_a_product() -> None:
    scale = Scale(2000, dim=64)
    products, vectors = scale.products(0), scale.vectors(0)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    cosines = vectors @ vectors.T
    leaf = np.array([hash(product.category) for product in products])
    same = np.array([hash(product.identity) for product in products])
    one_leaf, one_product = leaf[:, None] == leaf, same[:, None] == same
    np.fill_diagonal(one_product, False)
    assert cosines[one_product].mean() > 0.9
    assert 0.5 < cosines[one_leaf & ~one_product].mean() < cosines[one_product].mean()
    assert cosines[~one_leaf].mean() < 0.3


def test_edges_join_what_is_alike() -> None:
    edges = Scale(1000, dim=4).edges()
    first, second = edges.ends
    assert (first < second).all()
    assert len({(a, b) for a, b in zip(first, second, strict=True)}) == len(first)
    assert {edges.keys[a].partition(":")[0] for a in first} == {"brand", "category", "colour"}
    assert all(edges.keys[a].split(":")[0] == edges.keys[b].split(":")[0] for a, b in zip(first, second, strict=True))
    assert ((edges.weights >= 0.6) & (edges.weights <= 0.95)).all()


def test_names_differ() -> None:
    assert len({made_up(number) for number in range(30_000)}) == 30_000


@pytest.mark.parametrize("wrong", [{"listings": 0}, {"listings": 10_000_001}, {"dim": 1}, {"brands": -1}, {"seed": -1}])
def test_what_cannot_be(wrong: dict[str, int]) -> None:
    with pytest.raises(BadInput, match=str(next(iter(wrong.values()))).lstrip("-")):
        Scale(**{"listings": 10, **wrong})


def test_shares_are_what_they_say() -> None:
    scale = Scale(SHARD, dim=2, shares=(0.01, 0.5))
    having = Counter(value for product in scale.products(0) for kind, value in product.attributes if kind == "share")
    assert having["0.5"] == (scale.luck(0) < 0.5).sum()
    assert abs(having["0.5"] - SHARD / 2) < 150
    assert abs(having["0.01"] - SHARD / 100) < 30
    assert not [product for product in Scale(50, dim=2).products(0) if "share" in dict(product.attributes)]
