from __future__ import annotations

import numpy as np
import pytest

from encoders.graph.data import EntityGraph


@pytest.fixture(scope="session")
def towns() -> EntityGraph:
    """120 entities of 12 kinds. Texts tell the kind; edges connect each kind with one other, which texts cannot."""
    rng = np.random.default_rng(0)
    count, kinds = 120, np.arange(120) % 12
    centres = rng.standard_normal((12, 32))
    features = (centres[kinds] + 0.5 * rng.standard_normal((count, 32))).astype(np.float32)
    a, b = rng.integers(0, count, (2, 6000))
    kept = (kinds[a] // 2 == kinds[b] // 2) & (kinds[a] != kinds[b])
    edges = np.stack([a[kept], b[kept]])[:, :500]
    return EntityGraph(
        [f"kind{kind}:{n}" for n, kind in enumerate(kinds)],
        [f"kind{kind}" for kind in kinds],
        features / np.linalg.norm(features, axis=1, keepdims=True),
        edges,
        rng.uniform(0.3, 1, edges.shape[1]).astype(np.float32),
        (np.arange(edges.shape[1]) % 2).astype(np.int8),
        ("cooccurrence", "visual"),
    )
