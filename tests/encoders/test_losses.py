from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from encoders.losses import info_nce


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
