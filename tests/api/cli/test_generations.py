"""A change of model from the command line, with a real worker process that the commands start themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kg.audit import audit
from kg.stores import Stores
from kg.vectors import generations
from tests.api.cli.run import answer, skugraph
from tests.conftest import wipe
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny
from workers.following import behind

pytestmark = pytest.mark.slow


def test_a_change_of_model_at_night(embedded: Stores, tmp_path: Path) -> None:
    wipe(embedded)
    settings = embedded.settings
    for n in range(6):
        put(embedded.graph, f"p{n}", title=f"Candle number {n}", pictures=[draw(tmp_path / f"{n}.png", n)])
    (tmp_path / "q.tsv").write_text("".join(f"q{n}\tcandle number {n}\n" for n in range(6)))
    (tmp_path / "qrels").write_text("".join(f"q{n} 0 p{n} 1\n" for n in range(6)))
    (tmp_path / "gates.json").write_text('{"gates": [{"metric": "MRR", "loss": 0.3}]}')
    judged = ("--queries", tmp_path / "q.tsv", "--qrels", tmp_path / "qrels", "--gates", tmp_path / "gates.json")
    new = write_tiny(tmp_path / "new", seed=8, dim=32)

    old = answer("embed", "--encoder", write_tiny(tmp_path / "old"), settings=settings)["generation"]
    over = skugraph("reembed", "--encoder", new, "--max-bytes", 10, "--json", settings=settings)
    assert (over.returncode, json.loads(over.stdout)["error"]["code"]) == (2, "too-large")
    assert [one.id for one in generations.listing(embedded)] == [old]

    found = answer("reembed", "--encoder", new, *judged, settings=settings)
    job = found["job"]
    assert (found["estimate"]["products"], found["estimate"]["vectors"]) == (6, 12)
    assert (job["state"], job["generation"]) == ("done", found["estimate"]["generation"])
    listed = {one["id"]: one for one in answer("generations", settings=settings)}
    assert (listed[old]["state"], listed[job["generation"]]["state"]) == ("live", "shadow")
    shown = answer("generations", "show", job["generation"], settings=settings)
    assert (shown["evaluation"]["passed"], shown["vectors"]) == (True, {"image": 6, "text": 6})
    diff = ("generations", "diff", old, job["generation"], "--queries", tmp_path / "q.tsv")
    assert len(answer(*diff, settings=settings)["queries"]) == 6

    assert answer("promote", job["generation"], "--reason", "better", settings=settings)["previous"] == old
    put(embedded.graph, "p0", title="Lamp")
    assert [one["state"] for one in answer("embed", settings=settings)] == ["done", "done"]
    assert behind(embedded) == []
    assert answer("rollback", settings=settings)["id"] == old

    embedded.vectors.delete_rows(f"skugraph_{old}_text", ["p3#txt"])
    looked = skugraph("audit", "--json", settings=settings)
    assert (looked.returncode, json.loads(looked.stdout)["faults"]["missing"]) == (1, 1)
    assert answer("audit", "--repair", settings=settings)["repaired"]["missing"] == 1
    assert audit(embedded).faults.total() == 0
    assert answer("retire", job["generation"], settings=settings)["state"] == "retired"


def test_undoing_a_migration_is_shown_before_it_is_done(embedded: Stores) -> None:
    [step] = answer("migrate", "--undo", "--dry-run", settings=embedded.settings)["steps"]
    assert step["name"] == "rules"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("reembed", "--encoder", "none"), "no checkpoint folder"),
        (("reembed", "--encoder", "none", "--queries", "q"), "give --queries and --qrels together"),
        (("reembed", "--encoder", "none", "--gates", "g"), "nothing is measured without"),
        (("embed",), "no generation is live yet"),
        (("promote", "gnone"), "no generation 'gnone'"),
        (("promote", "gnone", "--force"), "takes a reason"),
        (("generations", "evaluate", "gnone"), "an evaluation needs both"),
        (("migrate", "--to", "1"), "only with --undo"),
        (("migrate", "--undo", "--to", "99"), "to = 99: the schema is at V"),
    ],
)
def test_bad_input_is_said_and_ends_with_2(embedded: Stores, arguments: tuple[str, ...], said: str) -> None:
    wipe(embedded)
    done = skugraph(*arguments, settings=embedded.settings)
    assert done.returncode == 2
    assert said in done.stderr
