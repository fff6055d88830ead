"""What products gain by entities, without a store; tests/api/test_plans.py holds the statements against brute force."""

from __future__ import annotations

from kg.graph.neighbourhood import Neighbourhood, Node, Way, gains


def test_what_is_on_everything_costs_nothing() -> None:
    counts = {"x:rare": 3, "x:common": 10_000, "x:all": 100_000, "x:none": 0}
    there = Neighbourhood(
        {key: Node(key, key, "x", df) for key, df in counts.items()}, {key: Way(key, 1.0) for key in counts}
    )
    rows, left = gains(there, products=100_000, budget=10_003)
    assert ([row["key"] for row in rows], left) == (["x:none", "x:rare", "x:common"], ["x:all"])
    assert 0.19 < rows[2]["gain"] < 0.21
    assert gains(there, products=100_000, budget=10_002)[1] == ["x:common", "x:all"]


def test_sums_of_gains_do_not_depend_on_their_order() -> None:
    nodes = {f"x:{n}": Node(f"x:{n}", str(n), "x", 7 * n + 1) for n in range(40)}
    there = Neighbourhood(nodes, {key: Way(key, 0.1 + n / 70) for n, key in enumerate(nodes)})
    found = [row["gain"] for row in gains(there, products=5000, budget=100_000)[0]]
    assert len(found) == 40
    assert sum(found) == sum(reversed(found)) == sum(sorted(found, key=lambda gain: gain % 0.01))
