"""What goes together by entities, and lists that do not repeat themselves: in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest

from api.companions import MOST, Link, Related, companions, idf, reached, telling
from api.diversity import diversified
from kg.errors import BadInput


def link(key: str, df: int = 2, relation: str = "HAS_ENTITY") -> Link:
    return Link(key, key.partition(":")[0], key.partition(":")[2], relation, df)


def test_a_shared_entity_counts_the_more_the_rarer() -> None:
    links = {"a": [link("series:kura", 2), link("colour:white", 50), link("category:bed", 5, "IN_CATEGORY")]}
    found = reached({"a": 1.0}, links, {}, 100)
    assert set(found) == {"series:kura", "colour:white"}  # a category is not shared: it is what has to differ
    ranked = companions(
        found.values(), {"series:kura": ["a", "b", "d"], "colour:white": ["a", "c", "b"]}, exclude=["a"]
    )
    rare, common = idf(2, 100) ** 2, idf(50, 100) ** 2
    assert [(one.id, one.score) for one in ranked] == [
        ("b", pytest.approx(rare + common)),
        ("d", pytest.approx(rare)),
        ("c", pytest.approx(common)),
    ]
    assert idf(2, 100) == pytest.approx(math.log(51))
    assert ranked[0].way is not None
    assert (ranked[0].key, ranked[0].way.source, ranked[0].way.weight) == ("series:kura", "a", None)


def test_a_pair_leads_on_and_says_so() -> None:
    links = {"a": [link("category:bed", 5, "IN_CATEGORY")], "b": [link("colour:red", 4)]}
    related = {"category:bed": [Related("material:pine", "material", "pine", 4, 0.5)]}
    found = reached({"a": 0.75, "b": 0.25}, links, related, 100, paired=0.1)
    strength = 0.75 * 0.1 * 0.5 * idf(5, 100) * idf(4, 100)
    assert found["material:pine"].strength == pytest.approx(strength)
    [one] = companions([found["material:pine"]], {"material:pine": ["c"]})
    assert one.way is not None
    assert (one.id, one.way.source, one.way.first.key, one.way.weight) == ("c", "a", "category:bed", 0.5)
    assert "material:pine" not in reached({"a": 1.0}, links, related, 100, paired=0)


@pytest.mark.parametrize(
    ("entity", "tells"),
    [(link("series:kura"), True), (link("size:90x200 cm"), False), (link("brand:all", MOST + 1), False)],
)
def test_what_tells_nothing_is_not_followed(entity: Link, tells: bool) -> None:
    assert telling(entity) is tells
    assert bool(reached({"a": 1.0}, {"a": [entity]}, {}, 5000)) is tells


def test_several_products_add_up_and_unknown_ones_add_nothing() -> None:
    links = {"a": [link("series:x")], "b": [link("series:x")]}
    both = reached({"a": 0.5, "b": 0.5, "unknown": 1.0}, links, {}, 10)["series:x"]
    assert both.strength == pytest.approx(idf(2, 10) ** 2)
    assert {way.source for way in both.ways} == {"a", "b"}
    assert companions([], {}) == []


def naive(scores: list[float], vectors: np.ndarray, k: int, d: float) -> list[int]:
    shares, chosen = [score / max(scores) for score in scores], []
    while len(chosen) < min(k, len(scores)):
        left = [at for at in range(len(scores)) if at not in chosen]
        chosen.append(
            max(
                left,
                key=lambda at: (
                    (1 - d) * shares[at] - d * max([0.0, *(vectors[at] @ vectors[c] for c in chosen)]),
                    -at,
                ),
            )
        )
    return chosen


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("d", [0.1, 0.5, 1.0])
def test_diversity_agrees_with_a_naive_twin(seed: int, d: float) -> None:
    draw = np.random.default_rng(seed)
    scores = sorted(draw.random(12).tolist(), reverse=True)
    vectors = draw.standard_normal((12, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert diversified(scores, vectors, 7, d) == naive(scores, vectors, 7, d)


def test_diversity_drops_the_twin() -> None:
    vectors = np.array([[1.0, 0], [1, 0], [0, 1]])
    assert diversified([1.0, 0.99, 0.8], vectors, 2, 0) == [0, 1]
    assert diversified([1.0, 0.99, 0.8], vectors, 2, 0.3) == [0, 2]
    assert diversified([1.0, 0.9], np.zeros((2, 2)), 5, 0.9) == [0, 1]  # nothing known of them: the order stays
    assert diversified([], np.zeros((0, 2)), 5, 0.5) == []
    with pytest.raises(BadInput, match=r"diversity = 1\.5: it is 0 to 1"):
        diversified([1.0], vectors[:1], 1, 1.5)
    with pytest.raises(BadInput, match="1 scores and 3 vectors"):
        diversified([1.0], vectors, 1, 0.5)
