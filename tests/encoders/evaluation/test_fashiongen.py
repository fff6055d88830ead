"""The three protocols against loops that follow their definitions word for word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.evaluation import fashiongen, protocols
from encoders.evaluation.fashiongen import of_matrix, of_vectors


def world(products: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of views and texts, and each view's product: one to four views, all of a product in one place."""
    draw = np.random.default_rng(seed)
    owner = np.repeat(np.arange(products), draw.integers(1, 5, products))
    return draw.standard_normal((len(owner), products)), owner


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(0, 1000), st.sampled_from([3, 512]))
def test_full_takes_the_own_text_and_any_view(products: int, seed: int, block: int) -> None:
    scores, owner = world(products, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fashiongen, "BLOCK", block)
        found = fashiongen.full(of_matrix(scores), owner)
    for k in (1, 5, 10):
        pictures = [owner[v] in np.argsort(-scores[v])[:k] for v in range(len(owner))]
        texts = [t in owner[np.argsort(-scores[:, t])[:k]] for t in range(products)]
        assert found[f"i2t/R@{k}"] == pytest.approx(100 * np.mean(pictures))
        assert found[f"t2i/R@{k}"] == pytest.approx(100 * np.mean(texts))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(0, 1000))
def test_product_takes_the_first_view_of_each(products: int, seed: int) -> None:
    scores, owner = world(products, seed)
    table = np.stack([scores[list(owner).index(t)] for t in range(products)])
    found = fashiongen.product(of_matrix(scores), owner)
    expected = protocols.cross_modal(table, np.eye(products, dtype=bool))
    assert found == {f"product/{name}": pytest.approx(value) for name, value in expected.items()}


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(0, 1000))
def test_sample_100_follows_its_definition(products: int, seed: int) -> None:
    """The draw is repeated here with the same generator; who may be drawn, and who is right, is said in loops."""
    scores, owner = world(products, seed)
    kind = [f"kind {product % 3}" for product in owner]
    found = fashiongen.sample_100(of_matrix(scores), owner, kind, seeds=[4], queries=30, negatives=10)
    views = range(len(owner))
    for way in ("i2t", "t2i"):
        draw = np.random.default_rng([4, way == "t2i"])
        ranks = []
        for query in draw.permutation(len(owner))[:30]:
            positive = draw.choice([v for v in views if owner[v] == owner[query]])
            near = [v for v in views if owner[v] != owner[query] and kind[v] == kind[query]]
            wrong = list(draw.permutation(np.array(near, int))[:10])
            rest = [v for v in views if owner[v] != owner[query] and v not in wrong]
            wrong += list(draw.permutation(np.array(rest, int))[: 10 - len(wrong)])

            def score(view: int, query: int = query, way: str = way) -> float:
                return scores[query, owner[view]] if way == "i2t" else scores[view, owner[query]]

            ranks.append(1 + sum(score(view) >= score(positive) for view in wrong))
        for k in (1, 5, 10):
            assert found[f"sample100/{way}/R@{k}"] == pytest.approx(100 * np.mean([rank <= k for rank in ranks]))


def test_sample_100_has_a_mean_and_a_spread_over_its_seeds() -> None:
    scores, owner = world(200, 1)
    kind = ["one"] * len(owner)
    found = fashiongen.sample_100(of_matrix(scores), owner, kind, queries=50)
    single = [fashiongen.sample_100(of_matrix(scores), owner, kind, seeds=[seed], queries=50) for seed in range(5)]
    values = [one["sample100/i2t/R@10"] for one in single]
    assert len(set(values)) > 1
    assert found["sample100/i2t/R@10"] == pytest.approx(np.mean(values))
    assert found["sample100/i2t/R@10/spread"] == pytest.approx(np.std(values, ddof=1))
    assert single[0]["sample100/i2t/R@10/spread"] == 0


def test_vectors_score_as_their_products_table() -> None:
    draw = np.random.default_rng(0)
    owner = world(20, 0)[1]
    pictures, texts = draw.standard_normal((len(owner), 8)), draw.standard_normal((20, 8))
    whole = fashiongen.full(of_matrix(pictures @ texts.T), owner)
    assert fashiongen.full(of_vectors(pictures, texts), owner) == pytest.approx(whole)


def test_products_of_one_text_are_never_found_first() -> None:
    owner = np.array([0, 0, 1, 2])
    vectors = np.eye(3)
    texts = vectors[[0, 0, 2]]  # the second product is told in the words of the first
    found = fashiongen.full(of_vectors(vectors[[0, 0, 0, 2]], texts), owner)
    assert found["i2t/R@1"] == 25.0
    assert found["i2t/R@5"] == 100.0
