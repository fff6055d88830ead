"""The ranking losses against plain loops; papers.md 2.6 lists the defects of the released code that are held here."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from encoders.graph_losses import Readout, far, near, node_ranking, subgraph_ranking


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Vectors (U, 6), and symmetric similarities with a diagonal of 1."""
    draw = torch.Generator().manual_seed(seed)
    vectors = functional.normalize(torch.randn(count, 6, generator=draw), dim=1)
    similar = torch.rand(count, count, generator=draw)
    similar = (similar + similar.T) / 2
    return vectors, similar.fill_diagonal_(1)


@given(st.integers(2, 9), st.integers(0, 10_000))
def test_node_ranking_with_one_choice_each_is_the_formula_written_out(count: int, seed: int) -> None:
    vectors, similar = drawn(count, seed)
    positive, negative = near(similar, 0.6), far(similar, 0.4)
    for i in range(count):  # leave one near and one far of each: nothing is left to the draw
        for mask in (positive, negative):
            for j in mask[i].nonzero()[:, 0].tolist()[1:]:
                similar[i, j] = 0.5
    positive, negative = near(similar, 0.6), far(similar, 0.4)
    total, number = 0.0, 0
    for i in range(count):
        p, n = positive[i].nonzero()[:, 0].tolist(), negative[i].nonzero()[:, 0].tolist()
        if p and n:
            number += 1
            total += max(0.0, 0.2 - float(vectors[i] @ vectors[p[0]]) + float(vectors[i] @ vectors[n[0]]))
    found = node_ranking(vectors, similar, high=0.6, low=0.4, margin=0.2)
    assert float(found) == pytest.approx(total / max(number, 1), abs=1e-5)


@given(st.integers(3, 9), st.integers(0, 10_000))
def test_subgraph_ranking_with_all_nodes_is_the_formula_written_out(count: int, seed: int) -> None:
    vectors, similar = drawn(count, seed)
    readout = Readout(6)
    torch.nn.init.eye_(readout.change.weight)

    def read(members: list[int]) -> Tensor:
        edges = [[1.0 if a == b else float(similar[a, b]) for b in members] for a in members]
        degree = [sum(row) for row in edges]
        total = torch.zeros(6)
        for a, one in enumerate(members):
            mixed = torch.zeros(6)
            for b, other in enumerate(members):
                mixed += edges[a][b] / (degree[a] * degree[b]) ** 0.5 * vectors[other]
            total += vectors[one] + mixed
        return functional.normalize(total / len(members), dim=0)

    wanted = []
    for i in range(count):
        p = [j for j in range(count) if j != i and similar[i, j] > 0.6]
        n = [j for j in range(count) if j != i and similar[i, j] < 0.4]
        if p and n:
            own = read([i])
            wanted.append(max(0.0, 0.2 - float((own @ read([i, *p])).detach()) + float((own @ read([i, *n])).detach())))
    found = subgraph_ranking(vectors, similar, readout, high=0.6, low=0.4, margin=0.2, nodes=count)
    assert float(found.detach()) == pytest.approx(sum(wanted) / max(len(wanted), 1), abs=1e-5)


def test_the_ranking_is_of_similarities_not_of_raw_features() -> None:
    """Defect 2: the elementwise margin on features sees a difference where the cosines have none."""
    vectors = functional.normalize(torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, -1, 0]]), dim=1)
    similar = torch.tensor([[1, 0.9, 0.1], [0.9, 1, 0.5], [0.1, 0.5, 1]])
    assert float(node_ranking(vectors, similar, high=0.85, low=0.4, margin=0.0)) == pytest.approx(0, abs=1e-6)
    better = functional.normalize(torch.tensor([[1.0, 0.5, 0], [1, 1, 0], [1, -1, 0]]), dim=1)
    worse = functional.normalize(torch.tensor([[1.0, -0.5, 0], [1, 1, 0], [1, -1, 0]]), dim=1)
    assert float(node_ranking(better, similar, high=0.85, low=0.4)) < float(
        node_ranking(worse, similar, high=0.85, low=0.4)
    )


def test_negatives_are_of_the_far_ones_and_positives_of_the_near() -> None:
    """Defect 3: the released code draws its negatives among the most similar."""
    vectors = torch.eye(5).requires_grad_()
    similar = torch.full((5, 5), 0.7)
    similar[0] = torch.tensor([1.0, 0.9, 0.2, 0.7, 0.95])  # near 1 and 4, far 2, neither 3
    for seed in range(20):
        vectors.grad = None
        draw = torch.Generator().manual_seed(seed)
        node_ranking(vectors, similar, high=0.85, low=0.5, draw=draw).backward()
        moved = vectors.grad[0]  # type: ignore[index]
        assert moved[2] > 0
        assert moved[1] + moved[4] < 0
        assert moved[3] == 0
        assert moved[0] == 0


def test_the_hardest_of_those_drawn_counts() -> None:
    vectors = functional.normalize(torch.tensor([[1.0, 0.1], [1, 0.2], [1, 0.3], [-1, 0]]), dim=1)
    similar = torch.zeros(4, 4)
    similar[0, 1] = 0.9
    loss = node_ranking(vectors, similar, high=0.85, low=0.5, margin=0.2, hard=9)
    assert float(loss) == pytest.approx(0.2 - float(vectors[0] @ vectors[1]) + float(vectors[0] @ vectors[2]), abs=1e-6)


def test_empty_sets_are_skipped_and_nobody_is_its_own_positive() -> None:
    """Defect 4."""
    vectors = torch.randn(4, 3, requires_grad=True)
    readout = Readout(3)
    for similar in (torch.eye(4), torch.ones(4, 4), torch.zeros(4, 4)):
        for loss in (
            node_ranking(vectors, similar, high=0.85, low=0.5),
            subgraph_ranking(vectors, similar, readout, high=0.85, low=0.5),
        ):
            assert float(loss.detach()) == 0
            loss.backward()
    assert not near(torch.ones(4, 4), 0.85).diagonal().any()
    assert not far(torch.zeros(4, 4), 0.5).diagonal().any()


def test_the_graph_has_no_gradient_and_the_vectors_have() -> None:
    """Defect 1: the released losses see detached features."""
    raw, similar = torch.randn(8, 6, requires_grad=True), drawn(8, 1)[1].requires_grad_()
    readout = Readout(6)
    for loss in (
        node_ranking(functional.normalize(raw, dim=1), similar.detach(), high=0.6, low=0.4),
        subgraph_ranking(functional.normalize(raw, dim=1), similar.detach(), readout, high=0.6, low=0.4),
    ):
        raw.grad = None
        loss.backward()
        assert raw.grad is not None
        assert raw.grad.abs().max() > 0
    assert similar.grad is None
    assert readout.change.weight.grad is not None
    assert readout.change.weight.grad.abs().max() > 0
