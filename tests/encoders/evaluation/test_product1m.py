"""Product1M's metrics against plain loops that follow the published scripts, and against cases computed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.evaluation.product1m import crowded, product1m, qrels_of
from encoders.evaluation.trec import judge
from kg.errors import BadInput

# Three items of a, two of b, one of c.
GALLERY = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b", "c1": "c", "x1": "x", "x2": "x", "x3": "x", "x4": "x"}


def one(ranked: Sequence[str], labels: Sequence[str], n: int, gallery: Mapping[str, str] = GALLERY) -> dict[str, float]:
    found = product1m({"q": ranked}, {"q": labels}, gallery, ns=(n,))
    return {name.removesuffix(f"@{n}"): value / 100 for name, value in found.items()}


def plain(ranked: Sequence[str], labels: Sequence[str], n: int, gallery: Mapping[str, str]) -> dict[str, float]:
    """The formulas as they are written down, one loop each."""
    hits, gained, seen, seen_at_k = 0, 0.0, [], (0, 0.0)
    m_script = sum(1 for label in labels for item in gallery if gallery[item] == label)
    k = min(n, m_script, len(ranked))
    for place, item in enumerate(ranked[:n], start=1):
        if gallery[item] in labels:
            hits += 1
            gained += hits / place
            seen.append(gallery[item])
        if place == k:
            seen_at_k = (hits, gained)
    m_true = sum(1 for item in gallery if gallery[item] in labels)
    recalls: dict[str, list[float]] = {"script": [], "normalised": []}
    for label in set(labels):
        there = sum(1 for item in gallery if gallery[item] == label)
        for name, places in (
            ("script", labels.count(label) * (n // len(labels))),
            ("normalised", round(labels.count(label) * n / len(labels))),
        ):
            room = min(places if places > 0 else 1, there)
            recalls[name].append(min(seen.count(label), room) / room)
    return {
        "p1m_script/Prec": seen_at_k[0] / k,
        "p1m_script/mAP": seen_at_k[1] / seen_at_k[0] if seen_at_k[0] else 0.0,
        "p1m_script/mAR": sum(recalls["script"]) / len(set(labels)),
        "p1m_normalised/Prec": hits / n,
        "p1m_normalised/mAP": gained / min(m_true, n),
        "p1m_normalised/mAR": sum(recalls["normalised"]) / len(set(labels)),
    }


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], list[str], int, dict[str, str]]:
    classes = draw(st.integers(1, 6))
    members = [draw(st.integers(1, 5)) for _ in range(classes)]
    gallery = {f"{label}-{i}": str(label) for label, count in enumerate(members) for i in range(count)}
    ranked = draw(st.permutations(list(gallery)))
    labels = draw(st.lists(st.sampled_from(sorted(set(gallery.values()))), min_size=1, max_size=14))
    return ranked[: draw(st.integers(1, len(ranked)))], labels, draw(st.integers(1, 20)), gallery


@given(cases())
def test_equals_plain_loops(case: tuple[list[str], list[str], int, dict[str, str]]) -> None:
    ranked, labels, n, gallery = case
    assert one(ranked, labels, n, gallery) == pytest.approx(plain(ranked, labels, n, gallery))


@given(st.lists(cases(), min_size=2, max_size=4))
def test_mean_over_queries(many: list[tuple[list[str], list[str], int, dict[str, str]]]) -> None:
    gallery = {f"{q}/{item}": f"{q}/{label}" for q, case in enumerate(many) for item, label in case[3].items()}
    ranked = {str(q): [f"{q}/{item}" for item in case[0]] for q, case in enumerate(many)}
    labels = {str(q): [f"{q}/{label}" for label in case[1]] for q, case in enumerate(many)}
    alone = [product1m({q: ranked[q]}, {q: labels[q]}, gallery, ns=(5,)) for q in ranked]
    mean = {name: sum(found[name] for found in alone) / len(alone) for name in alone[0]}
    assert product1m(ranked, labels, gallery, ns=(5,)) == pytest.approx(mean)


def test_by_hand() -> None:
    # Hits at 1, 3, 4; m = 3 + 2 = 5; k = 5.
    found = one(["a1", "x1", "b1", "a2", "x2"], ["a", "b"], 5)
    precision = 1 + 2 / 3 + 3 / 4
    assert found == pytest.approx(
        {
            "p1m_script/Prec": 3 / 5,
            "p1m_script/mAP": precision / 3,
            "p1m_script/mAR": (2 / 2 + 1 / 2) / 2,  # ⌊5 / 2⌋ = 2 places each
            "p1m_normalised/Prec": 3 / 5,
            "p1m_normalised/mAP": precision / 5,
            "p1m_normalised/mAR": (2 / 2 + 1 / 2) / 2,  # round(2.5) = 2
        }
    )


def test_one_hit_at_the_head_is_enough_for_the_script_only() -> None:
    found = one(["a1", "x1", "x2", "x3", "x4"], ["a"], 5)
    assert found["p1m_script/mAP"] == 1
    assert found["p1m_normalised/mAP"] == pytest.approx(1 / 3)


def test_a_repeated_label_counts_twice_in_the_script() -> None:
    # c shown twice, one item of it in the gallery: the script takes k = 2 places, the other form knows of one.
    found = one(["x1", "c1", "x2"], ["c", "c"], 10)
    assert found["p1m_script/Prec"] == 1 / 2
    assert found["p1m_script/mAP"] == 1 / 2
    assert found["p1m_normalised/mAP"] == 1 / 2  # min(1, 10) = 1 relevant, found at rank 2
    assert found["p1m_script/mAR"] == found["p1m_normalised/mAR"] == 1


def test_units_share_the_places() -> None:
    # a twice, b once: of 6 places 4 and 2; there are 3 and 2 items.
    found = one(["a1", "b1", "x1", "x2", "x3", "x4"], ["a", "b", "a"], 6)
    assert found["p1m_script/mAR"] == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_fewer_gallery_items_than_places() -> None:
    found = one(["b1", "b2", *(item for item in GALLERY if item[0] != "b")], ["b"], 10)
    assert found["p1m_script/Prec"] == 1  # k = 2
    assert found["p1m_normalised/Prec"] == pytest.approx(2 / 10)
    assert found["p1m_script/mAR"] == found["p1m_normalised/mAR"] == found["p1m_normalised/mAP"] == 1


def test_hits_beyond_k_count_for_recall_only() -> None:
    # m = 1, so the script reads one place for Prec and AP, but all five for AR.
    found = one(["x1", "c1", "x2", "x3", "x4"], ["c"], 5)
    assert (found["p1m_script/Prec"], found["p1m_script/mAP"], found["p1m_script/mAR"]) == (0, 0, 1)


def test_no_hit_scores_nothing_and_stays_in_the_mean() -> None:
    assert set(one(["x1", "x2"], ["a"], 2).values()) == {0.0}
    both = product1m({"q": ["a1"], "r": ["x1"]}, {"q": ["a"], "r": ["a"]}, GALLERY, ns=(1,))
    assert both["p1m_script/mAP@1"] == 50


def test_a_list_shorter_than_the_places() -> None:
    found = one(["a1"], ["a"], 10)
    assert found["p1m_script/Prec"] == 1  # k is the list's length
    assert found["p1m_normalised/Prec"] == pytest.approx(1 / 10)
    assert found["p1m_script/mAR"] == pytest.approx(1 / 3)


def test_more_labels_than_places_give_each_class_one_place() -> None:
    # The script divides by ⌊10 / 12⌋ = 0 here and leaves the query with nothing.
    gallery = {str(n): f"class {n}" for n in range(12)}
    labels = list(gallery.values())
    found = one(list(gallery), labels, 10, gallery)
    assert found["p1m_script/mAR"] == pytest.approx(10 / 12)
    assert found["p1m_normalised/mAR"] == pytest.approx(10 / 12)
    assert crowded({"q": labels, "r": labels[:10]}, 10) == {"p1m_script": 1, "p1m_normalised": 0}
    assert crowded({"q": [str(n) for n in range(20)]}, 10) == {"p1m_script": 1, "p1m_normalised": 1}  # round(½) = 0


def test_recalls_of_classes_are_summed() -> None:
    # The script's old mistake kept the last class only: 1/3 here.
    found = one(["a1", "a2", "a3", "b1", "b2", "c1"], ["a", "b", "c"], 9)
    assert found["p1m_script/mAR"] == found["p1m_normalised/mAR"] == 1


@pytest.mark.parametrize(
    ("ranked", "labels", "says"),
    [
        ({"q": ["a1"]}, {"q": ["a", "z"]}, "'q': label 'z' has no gallery item"),
        ({"q": ["a1"]}, {"q": []}, "'q' has no label"),
        ({"q": []}, {"q": ["a"]}, "'q' has an empty list"),
        ({}, {"q": ["a"]}, "'q' has labels but no list"),
        ({"q": ["a1"], "r": ["a1"]}, {"q": ["a"]}, "'r' has a list but no labels"),
        ({"q": ["a1", "b1", "a1"]}, {"q": ["a"]}, "'a1' twice"),
        ({"q": ["a1", "z9"]}, {"q": ["a"]}, "'z9' in its list, which is not in the gallery"),
        ({}, {}, "at least one query"),
    ],
)
def test_never_a_silent_nothing(ranked: dict[str, list[str]], labels: dict[str, list[str]], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        product1m(ranked, labels, GALLERY)


def test_places_start_at_one() -> None:
    with pytest.raises(BadInput, match="places from 1"):
        product1m({"q": ["a1"]}, {"q": ["a"]}, GALLERY, ns=(0,))


def test_a_place_named_twice_counts_once() -> None:
    assert product1m({"q": ["g"]}, {"q": ["a"]}, {"g": "a"}, ns=(1, 1))["p1m_script/mAP@1"] == 100


def test_qrels_hold_every_item_of_the_labels() -> None:
    qrels = qrels_of({"q": ["b", "c", "b"]}, GALLERY)
    assert qrels == {"q": {"b1": 1, "b2": 1, "c1": 1}}
    figures = judge(qrels, {"q": {"b1": 3.0, "x1": 2.0, "c1": 1.0}}, ks=(1, 3))
    assert figures["R@3"] == pytest.approx(2 / 3)
    assert figures["mAP"] == pytest.approx((1 + 2 / 3) / 3)
