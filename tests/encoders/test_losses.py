from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from encoders.losses import info_nce, masked_regions, masked_words, nt_xent


def naive(pictures: torch.Tensor, texts: torch.Tensor, scale: float, same: torch.Tensor) -> float:
    total = 0.0
    for asking, answering, positives in ((pictures, texts, same), (texts, pictures, same.T)):
        for i in range(len(asking)):
            scores = [scale * float(asking[i] @ answering[j]) for j in range(len(answering))]
            bottom = math.log(sum(math.exp(s) for s in scores))
            right = [j for j in range(len(answering)) if positives[i, j]]
            total += sum(bottom - scores[j] for j in right) / len(right) / len(asking)
    return total / 2


@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 10_000))
def test_equals_the_formula_written_out(size: int, kinds: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    pictures, texts = (functional.normalize(torch.randn(size, 8, generator=draw), dim=1) for _ in range(2))
    kind = torch.randint(kinds, (size,), generator=draw)
    same = kind[:, None] == kind
    found = info_nce(pictures, texts, torch.tensor(5.0), same)
    assert float(found) == pytest.approx(naive(pictures, texts, 5.0, same), abs=1e-4)


def test_one_positive_each_is_cross_entropy_of_clip() -> None:
    draw = torch.Generator().manual_seed(0)
    pictures, texts = (functional.normalize(torch.randn(6, 8, generator=draw), dim=1) for _ in range(2))
    scores, places = 10 * pictures @ texts.T, torch.arange(6)
    wanted = (functional.cross_entropy(scores, places) + functional.cross_entropy(scores.T, places)) / 2
    torch.testing.assert_close(info_nce(pictures, texts, torch.tensor(10.0), torch.eye(6).bool()), wanted)


def test_gradient_pulls_a_pair_together() -> None:
    pictures = functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    texts = functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(2)), dim=1).requires_grad_()
    before = (pictures * texts).sum()
    info_nce(pictures, texts, torch.tensor(1.0), torch.eye(4).bool()).backward()
    assert texts.grad is not None
    assert (pictures * (texts - 0.1 * texts.grad)).sum() > before


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match=r"\(3, 8\), texts \(2, 8\)"):
        info_nce(torch.zeros(3, 8), torch.zeros(2, 8), torch.tensor(1.0), torch.eye(3).bool())
    with pytest.raises(ValueError, match="same"):
        info_nce(torch.zeros(3, 8), torch.zeros(3, 8), torch.tensor(1.0), torch.eye(2).bool())


def naive_2b(pictures: torch.Tensor, texts: torch.Tensor, scale: float, same: torch.Tensor) -> float:
    """Each of the 2B vectors against its partner and the vectors of all items that do not belong to it."""
    count, total = len(pictures), 0.0
    both = [*pictures, *texts]
    for i in range(2 * count):
        item, partner = i % count, (i + count) % (2 * count)
        right = math.exp(scale * float(both[i] @ both[partner]))
        wrong = 0.0
        for k in range(2 * count):
            if not same[item, k % count]:
                wrong += math.exp(scale * float(both[i] @ both[k]))
        total -= math.log(right / (right + wrong))
    return total / (2 * count)


@given(st.integers(2, 9), st.integers(1, 9), st.integers(0, 10_000))
def test_nt_xent_equals_two_loops(size: int, kinds: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    pictures, texts = (functional.normalize(torch.randn(size, 8, generator=draw), dim=1) for _ in range(2))
    kind = torch.randint(kinds, (size,), generator=draw)  # few kinds: items of one product among them
    same = kind[:, None] == kind
    found = nt_xent(pictures, texts, torch.tensor(5.0), same)
    assert float(found) == pytest.approx(naive_2b(pictures, texts, 5.0, same), abs=1e-4)


def test_nt_xent_without_duplicates_is_the_published_sum_over_all_others() -> None:
    draw = torch.Generator().manual_seed(0)
    pictures, texts = (functional.normalize(torch.randn(5, 8, generator=draw), dim=1) for _ in range(2))
    z = torch.cat([pictures, texts])
    total = 0.0
    for i in range(10):
        others = [k for k in range(10) if k != i]
        bottom = sum(math.exp(float(z[i] @ z[k]) / 0.07) for k in others)
        total -= math.log(math.exp(float(z[i] @ z[(i + 5) % 10]) / 0.07) / bottom) / 10
    found = nt_xent(pictures, texts, torch.tensor(1 / 0.07), torch.eye(5).bool())
    assert float(found) == pytest.approx(total, abs=1e-4)


def test_nt_xent_pushes_pictures_from_pictures_and_the_clip_loss_does_not() -> None:
    pictures = functional.normalize(torch.tensor([[1.0, 0.1, 0.0], [1.0, 0.0, 0.1]]), dim=1)
    texts = functional.normalize(torch.tensor([[0.0, 0.3, 1.0], [0.0, 1.0, 0.3]]), dim=1)
    for loss, pushes in ((nt_xent, True), (info_nce, False)):
        moving = pictures.clone().requires_grad_()
        frozen = texts.clone()
        loss(moving, frozen, torch.tensor(1.0), torch.eye(2).bool()).backward()
        assert moving.grad is not None
        # Away from the other picture, whose first coordinate is 1: only where pictures are negatives of pictures.
        assert bool((moving.grad[:, 0] > 1e-3).all()) is pushes


def test_nt_xent_of_one_product_alone_is_0() -> None:
    pictures, texts = (functional.normalize(torch.randn(3, 4), dim=1) for _ in range(2))
    assert float(nt_xent(pictures, texts, torch.tensor(9.0), torch.ones(3, 3).bool())) == 0


def test_nt_xent_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match=r"\(3, 8\), texts \(2, 8\)"):
        nt_xent(torch.zeros(3, 8), torch.zeros(2, 8), torch.tensor(1.0), torch.eye(3).bool())


def test_masked_words_is_cross_entropy_and_masked_regions_the_mean_square() -> None:
    scores, words = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]]), torch.tensor([1, 0])
    wanted = sum(
        math.log(sum(math.exp(float(s)) for s in row)) - float(row[word])
        for row, word in zip(scores, words.tolist(), strict=True)
    )
    assert float(masked_words(scores, words)) == pytest.approx(wanted / 2)
    assert float(masked_words(scores, torch.tensor([1, -100]))) == pytest.approx(
        float(masked_words(scores[:1], words[:1]))
    )
    assert float(masked_words(scores, torch.tensor([-100, -100]))) == 0  # words that the training does not know
    predicted, features = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[1.0, 1.0], [0.0, 5.0]])
    assert float(masked_regions(predicted, features)) == pytest.approx((1 + 9) / 4)


def test_nothing_masked_costs_nothing_and_has_a_gradient() -> None:
    for loss, target in ((masked_words, torch.zeros(0).long()), (masked_regions, torch.zeros(0, 5))):
        given_ = torch.zeros(0, 5, requires_grad=True)
        found = loss(given_, target)
        found.backward()
        assert float(found) == 0
