"""Each metric against plain loops, and against pytrec_eval and ir-measures."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from encoders.evaluation import metrics

K = 10


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, and relevance with at least one in each row."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 30)))
    scores = draw(hnp.arrays(np.float64, shape, elements=st.integers(-4, 4).map(float)))
    relevant = draw(hnp.arrays(bool, shape))
    relevant[np.arange(shape[0]), draw(hnp.arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))] = True
    return scores, relevant


@given(tables())
def test_first_rank_counts_what_ties_against_it(table: tuple[np.ndarray, np.ndarray]) -> None:
    scores, relevant = table
    for row, found in enumerate(metrics.first_ranks(scores, relevant)):
        pairs = sorted(zip(scores[row], relevant[row], strict=True), key=lambda p: (-p[0], p[1]))
        assert found == 1 + next(i for i, (_, good) in enumerate(pairs) if good)


def test_an_encoder_that_says_nothing_finds_nothing() -> None:
    ranks = metrics.first_ranks(np.zeros((4, 4)), np.eye(4, dtype=bool))
    assert ranks.tolist() == [4, 4, 4, 4]
    assert metrics.hit(ranks, 1).sum() == 0


def test_first_ranks_refuses_what_cannot_be_ranked() -> None:
    with pytest.raises(ValueError, match="a relevant column in each row"):
        metrics.first_ranks(np.zeros((1, 2)), np.zeros((1, 2), bool))
    with pytest.raises(ValueError, match="finite"):
        metrics.first_ranks(np.full((1, 2), np.nan), np.ones((1, 2), bool))
    with pytest.raises(ValueError, match="equal shapes"):
        metrics.first_ranks(np.zeros((1, 2)), np.ones((1, 3), bool))


@given(tables())
def test_equal_plain_loops(table: tuple[np.ndarray, np.ndarray]) -> None:
    scores, relevant = table
    total = relevant.sum(axis=1)
    found = np.take_along_axis(relevant, metrics.rank(scores, K), axis=1)
    for row in range(len(scores)):
        order = sorted(range(scores.shape[1]), key=lambda c: (-scores[row, c], c))[:K]
        assert metrics.rank(scores, K)[row].tolist() == order
        hits, precisions, gain = 0, 0.0, 0.0
        for place, column in enumerate(order, start=1):
            if relevant[row, column]:
                hits += 1
                precisions += hits / place
                gain += 1 / math.log2(place + 1)
        ideal = sum(1 / math.log2(place + 1) for place in range(1, min(int(total[row]), K) + 1))
        assert metrics.recall(found, total, K)[row] == pytest.approx(hits / total[row])
        assert metrics.average_precision(found, total, K)[row] == pytest.approx(precisions / total[row])
        assert metrics.ndcg(found, total, K)[row] == pytest.approx(gain / ideal)


@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 10_000))
def test_equal_the_tools_of_the_field(queries: int, gallery: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = draw.permuted(np.tile(np.arange(gallery, dtype=float), (queries, 1)), axis=1)  # no ties
    relevant = draw.random((queries, gallery)) < 0.3
    relevant[:, 0] = True
    qrels = {f"q{q}": {f"d{d}": int(relevant[q, d]) for d in range(gallery)} for q in range(queries)}
    run = {f"q{q}": {f"d{d}": float(scores[q, d]) for d in range(gallery)} for q in range(queries)}
    total = relevant.sum(axis=1)
    found = np.take_along_axis(relevant, metrics.rank(scores, K), axis=1)
    ranks = metrics.first_ranks(scores, relevant)
    ours = {
        "recall_10": metrics.recall(found, total, K),
        "map_cut_10": metrics.average_precision(found, total, K),
        "ndcg_cut_10": metrics.ndcg(found, total, K),
        "success_10": metrics.hit(ranks, K),
        "recip_rank": metrics.reciprocal_rank(ranks),
    }
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(ours)).evaluate(run)
    for name, values in ours.items():
        assert [theirs[f"q{q}"][name] for q in range(queries)] == pytest.approx(values.tolist())
    means = ir_measures.calc_aggregate(
        [ir_measures.parse_measure(m) for m in ("R@10", "AP@10", "nDCG@10", "RR")], qrels, run
    )
    assert {str(name): value for name, value in means.items()} == pytest.approx(
        {
            "R@10": ours["recall_10"].mean(),
            "AP@10": ours["map_cut_10"].mean(),
            "nDCG@10": ours["ndcg_cut_10"].mean(),
            "RR": ours["recip_rank"].mean(),
        }
    )
