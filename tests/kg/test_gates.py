from __future__ import annotations

import json
from pathlib import Path

import pytest

from kg.errors import BadInput
from kg.gates import Gates, load_gates, outcomes, standing


def gates(*asked: dict[str, object]) -> Gates:
    return Gates.model_validate({"gates": asked})


def group(live: float, shadow: float, queries: int = 10, metric: str = "nDCG@10") -> dict[str, object]:
    return {"queries": queries, "live": {metric: live}, "shadow": {metric: shadow}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("{}", r"gates = .*Field required"),
        ('{"gates": []}', "at least 1 item"),
        ('{"gates": [{"metric": "nDCG@7"}]}', r"gates\.0\.metric = 'nDCG@7'"),
        ('{"gates": [{"loss": -0.1}]}', r"gates\.0\.loss = -0\.1"),
        ('{"gates": [{"scope": "seller"}]}', r"gates\.0\.scope = 'seller'"),
        ('{"gates": [{"los": 0.1}]}', r"gates\.0\.los = 0\.1"),
    ],
)
def test_a_file_that_is_no_gates_says_where(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "gates.json").write_text(text)
    with pytest.raises(BadInput, match=said):
        load_gates(tmp_path / "gates.json")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.json: No such file"):
        load_gates(tmp_path / "none.json")


def test_the_digest_is_of_what_is_asked_not_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"gates": [{"loss": 0.1, "metric": "MRR"}]}')
    (tmp_path / "b.json").write_text(json.dumps({"gates": [{"metric": "MRR", "loss": 0.1, "scope": "overall"}]}))
    (tmp_path / "c.json").write_text('{"gates": [{"loss": 0.2, "metric": "MRR"}]}')
    a, b, c = (load_gates(tmp_path / f"{name}.json").digest for name in "abc")
    assert a == b != c


def test_a_loss_is_measured_from_the_live_generation_and_a_floor_from_nothing() -> None:
    asked = gates({"loss": 0.05}, {"floor": 0.6}, {"loss": 0.2, "floor": 0.5})
    found = outcomes(asked, {"overall": {"": group(0.62, 0.57)}})
    assert [(one["least"], one["passed"]) for one in found] == [(pytest.approx(0.57), True), (0.62, False), (0.5, True)]


def test_every_category_and_brand_with_enough_queries_counts() -> None:
    asked = gates({"scope": "category", "loss": 0.1, "queries": 5}, {"scope": "brand", "queries": 5})
    groups = {
        "overall": {"": group(0.5, 0.9)},
        "category": {"category:a": group(0.5, 0.39), "category:b": group(0.5, 0.0, queries=4)},
        "brand": {"brand:x": group(0.5, 0.5)},
    }
    found = {(one["scope"], one["group"]): one["passed"] for one in outcomes(asked, groups)}  # type: ignore[arg-type]
    assert found == {("category", "category:a"): False, ("brand", "brand:x"): True}


def test_too_few_queries_overall_do_not_pass() -> None:
    [one] = outcomes(gates({"queries": 11}), {"overall": {"": group(0.5, 0.9)}})
    assert not one["passed"]


def test_what_keeps_a_generation_out_is_said() -> None:
    asked = gates({"loss": 0.05})
    assert standing(None, None, against="g1") == ""
    assert standing(asked, None, against="g1") == "gates are set, and it was never evaluated"

    def evaluation(shadow: float, **values: object) -> dict[str, object]:
        found = outcomes(asked, {"overall": {"": group(0.5, shadow)}})
        failed = [one for one in found if not one["passed"]]
        known = {"failed": failed, "failed_count": len(failed), "passed": not failed}
        return {"gates_digest": asked.digest, "against": "g1", **known, **values}

    assert standing(asked, evaluation(0.46), against="g1") == ""
    assert standing(asked, evaluation(0.4), against="g1").startswith(
        "nDCG@10 is 0.4000 on 10 queries, 0.5000 on the li"
    )
    assert "must be 0.4500 at least" in standing(asked, evaluation(0.4), against="g1")
    assert "against generation g1, and g2 is live" in standing(asked, evaluation(0.46), against="g2")
    assert "other gates" in standing(asked, evaluation(0.46, gates_digest="x"), against="g1")
    assert standing(None, evaluation(0.4), against="g1").startswith("nDCG@10"), "gates of its own count as well"
    assert standing(None, evaluation(0.4, gates_digest=""), against="g1") == ""
