"""The three protocols of Fashion-Gen, each under its name. They are not comparable with each other.

`sample-100`  1,000 views are drawn; each is asked against one right answer and 100 views of other products of its
              subcategory, topped up from the rest where there are fewer. A candidate is a view, or the text of a view's
              product, so in picture → text a product with several views may come more than once. Right is any view of
              the query's product. Both ways are drawn separately, with five seeds.
`full`        every view against the text of every product, and every text against all views: right is the own text,
              and any view of the product.
`product`     the first view of each product against the text of each.

Products whose texts are the same stay different products: by the rule of `encoders.evaluation.protocols`, that a wrong
answer with the score of the right one comes before it, they are never found first. All figures are per cent.

Scores come as a function, since the whole table of a validation file has some 10⁸ entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.evaluation.metrics import first_ranks, hit
from encoders.evaluation.protocols import draw_ranks, levels_of, over_seeds, rank_figures

__all__ = ["SEEDS", "ScoreOf", "full", "of_matrix", "of_vectors", "product", "sample_100"]

SEEDS = range(5)
BLOCK = 512  # queries scored at a time

Numbers = NDArray[np.int64]
Scores = NDArray[np.floating]
ScoreOf = Callable[[Numbers, Numbers], Scores]  # (Q,) views and (T,) products → (Q, T), picture by text


def of_matrix(scores: Scores) -> ScoreOf:
    """Of a whole table (V, P), views by products' texts."""
    return lambda views, products: scores[np.ix_(views, products)]


def of_vectors(pictures: Scores, texts: Scores) -> ScoreOf:
    """Inner products of (V, dim) views and (P, dim) products' texts."""
    return lambda views, products: pictures[views] @ texts[products].T


def sample_100(
    scores: ScoreOf,
    products: Numbers,
    subcategories: Sequence[str],
    *,
    seeds: Sequence[int] = SEEDS,
    queries: int = 1000,
    negatives: int = 100,
) -> dict[str, float]:
    """`sample100/i2t/R@1` …, means over the seeds, each with its `/spread`.

    Args:
        scores: of views and products.
        products: (V,) number of each view's product, from 0.
        subcategories: of each view.
        seeds: one draw for each.
        queries: drawn without repeat, at most V.
        negatives: of each query, at most all there are.
    """
    levels = levels_of([(name,) for name in subcategories])
    ask = {
        "i2t": lambda query, items: scores(np.array([query]), products[items])[0],
        "t2i": lambda query, items: scores(items, products[[query]])[:, 0],
    }
    draws = []
    for seed in seeds:
        figures: dict[str, float] = {}
        for way, score in ask.items():
            draw = np.random.default_rng([seed, way == "t2i"])
            found = draw_ranks(score, lambda query: products == products[query], levels, draw,
                               queries=queries, negatives=negatives)  # fmt: skip
            figures |= {f"sample100/{way}/R@{k}": 100 * float(hit(found, k).mean()) for k in (1, 5, 10)}
        draws.append(figures)
    return over_seeds(draws)


def full(scores: ScoreOf, products: Numbers) -> dict[str, float]:
    """`i2t/R@1` … `t2i/MRR`, image-level.

    Args:
        scores: of views and products.
        products: (V,) number of each view's product; every number from 0 to the largest occurs.
    """
    return _both(scores, np.arange(len(products)), products)


def product(scores: ScoreOf, products: Numbers) -> dict[str, float]:
    """`product/i2t/R@1` … `product/t2i/MRR`, one view for each text; arguments as of `full`."""
    numbers, first = np.unique(products, return_index=True)
    return {f"product/{name}": value for name, value in _both(scores, first, numbers).items()}


def _both(scores: ScoreOf, views: Numbers, products: Numbers) -> dict[str, float]:
    """Both ways between the views, of these products, and the texts of all products."""
    texts = np.arange(products.max() + 1)
    i2t = [first_ranks(scores(views[part], texts), products[part, None] == texts) for part in _blocks(len(views))]
    t2i = [first_ranks(scores(views, texts[part]).T, texts[part, None] == products) for part in _blocks(len(texts))]
    return rank_figures("i2t", np.concatenate(i2t)) | rank_figures("t2i", np.concatenate(t2i))


def _blocks(size: int) -> list[Numbers]:
    return [np.arange(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]
