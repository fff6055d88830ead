from __future__ import annotations

from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest

from kg import cooccurrence
from kg.cooccurrence import Mentions, cooccurring
from kg.similarity import NONE


def mentions(products: list[list[int]], count: int) -> Mentions:
    starts = np.cumsum([0, *map(len, products)])
    return Mentions(starts, np.array([entity for named in products for entity in named], np.int32), count)


def naive(products: list[list[int]], count: int, k: int, most: int, least: int) -> list[list[tuple[int, float]]]:
    often = Counter(entity for named in products for entity in named)
    together: Counter[tuple[int, int]] = Counter()
    for named in products:
        together.update(permutations(sorted(named, key=lambda entity: (often[entity], entity))[:most], 2))
    near = []
    for one in range(count):
        weights = {
            other: round(n / (often[one] * often[other]) ** 0.5, 6)
            for (first, other), n in together.items()
            if first == one and n >= least
        }
        near.append(sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:k])
    return near


@pytest.mark.parametrize("seed", range(6))
def test_counts_agree_with_a_naive_count(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Also in several buckets on disk, in several chunks of products, with products of nothing and of very much."""
    monkeypatch.setattr(cooccurrence, "CHUNK", 7)
    monkeypatch.setattr(cooccurrence, "BUCKET", 50)
    draw, count = np.random.default_rng(seed), 30
    products = [np.minimum(draw.zipf(1.6, draw.integers(0, 12)), count) - 1 for _ in range(draw.integers(0, 80))]
    named = [sorted(set(product.tolist())) for product in products]
    indices, scores = cooccurring(mentions(named, count), 4, most=6, least=2)
    for row, expected in enumerate(naive(named, count, 4, 6, 2)):
        kept = indices[row] != NONE
        assert indices[row][kept].tolist() == [other for other, _ in expected]
        assert scores[row][kept] == pytest.approx([weight for _, weight in expected], abs=1e-6)
        assert kept.sum() == len(expected)


def test_an_entity_of_ten_thousand_products() -> None:
    count = 2001
    products = [[0, 1 + n % 2000] for n in range(10_000)]
    indices, scores = cooccurring(mentions(products, count), 3)
    assert indices[0].tolist() == [1, 2, 3]
    assert (indices[1:, 0] == 0).all()
    assert (indices[1:, 1:] == NONE).all()
    assert scores[1, 0] == pytest.approx(5 / (10_000 * 5) ** 0.5, abs=1e-6)


def test_of_a_product_that_names_very_much_only_the_rarest_are_paired() -> None:
    products = [list(range(40)), list(range(40)), *([n] for n in range(20))]
    indices, _ = cooccurring(mentions(products, 40), 20)
    rarest = set(range(20, 35))
    assert {row for row in range(40) if (indices[row] != NONE).any()} == rarest
    assert all(set(indices[row].tolist()) - {NONE} == rarest - {row} for row in rarest)
    assert len(list(combinations(rarest, 2))) == 105


def test_no_products() -> None:
    assert (cooccurring(mentions([], 3), 2)[0] == NONE).all()
    assert cooccurring(mentions([], 0), 2)[0].shape == (0, 2)
