"""`skugraph rules` as processes: what they do, print and refuse."""

from __future__ import annotations

from pathlib import Path

from kg.stores import Stores
from tests.api.cli.run import answer, skugraph
from tests.api.scenes import fill


def test_a_rule_is_made_kept_and_taken_away(stores: Stores, tmp_path: Path) -> None:
    fill(stores, tmp_path)
    settings = stores.settings
    made = answer(
        "rules", "add", "pin", "--product", "p4", "--query", "Amber", "--until", "2100-01-01", "--reason", "sale",
        settings=settings,
    )  # fmt: skip
    assert (made["expires_at"], made["query"]) == ("2100-01-01T00:00:00+00:00", "amber")
    first = answer("search", "amber", "-k", "2", settings=settings)["hits"][0]
    assert (first["product"]["id"], first["rule"]) == ("p4", made["id"])
    every = answer("search", "amber candle", "-k", "6", "--group", "offers", "--diversity", "0.3", settings=settings)
    assert every["returned"] == len({hit["product"]["id"] for hit in every["hits"]})
    refused = skugraph("search", "amber", "--group", "brand", settings=settings)
    assert (refused.returncode, "group" in refused.stderr) == (2, True)
    page = skugraph("rules", "list", settings=settings)
    assert made["id"] in page.stdout
    assert "2100-01-01T00:00" in page.stdout
    gone = skugraph("rules", "remove", made["id"], "--reason", "over", settings=settings)
    assert gone.stdout == f"removed rule {made['id']}: pin p4\n"
    trail = answer("rules", "trail", settings=settings)
    assert [(one["action"], one["reason"]) for one in trail] == [("rule-remove", "over"), ("rule-add", "sale")]
    for args, says in {
        ("hide", "--product", "p4"): "action = 'hide': pin, bury, exclude",
        ("pin", "--filter", "{"): "--filter '{': not JSON",
        ("pin", "--filter", '{"brnd": "x"}'): "unknown filter 'brnd', did you mean 'brand'?",
        ("pin", "--product", "p4", "--until", "soon"): "--until 'soon'",
    }.items():
        refused = skugraph("rules", "add", *args, settings=settings)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert says in refused.stderr
