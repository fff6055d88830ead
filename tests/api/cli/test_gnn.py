"""skugraph gnn, with a real worker process that it starts itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoders.graph.config import CONFIGS
from kg.stores import Stores
from tests.api.cli.run import answer, skugraph
from tests.conftest import wipe

pytestmark = pytest.mark.slow
LINK = """
MATCH (a:Entity {key: $a}) MATCH (b:Entity {key: $b})
CREATE (a)-[:SIMILAR_TO {weight: 0.5, source: 'cooccurrence', generation: 'x'}]->(b)
"""


def test_entity_vectors_from_the_command_line(embedded: Stores, tmp_path: Path) -> None:
    wipe(embedded)
    settings = embedded.settings
    for n in range(30):
        embedded.graph.write("CREATE (:Entity {key: $key, text: $text})", key=f"word:w{n}", text=f"word {n}")
    for n in range(29):
        embedded.graph.write(LINK, a=f"word:w{n}", b=f"word:w{n + 1}")
    values = json.loads((CONFIGS / "gat.json").read_text(encoding="utf-8"))
    values["training"]["epochs"] = 2
    config = tmp_path / "quick.json"
    config.write_text(json.dumps(values), encoding="utf-8")

    queued = answer("gnn", "--config", config, "--no-wait", settings=settings)
    assert (queued["state"], queued["kind"]) == ("queued", "gnn")
    done = answer("gnn", "--config", config, settings=settings)
    assert (done["id"], done["state"], done["done"], done["total"]) == (queued["id"], "done", 30, 30)
    assert {"graph", "text", "random"} <= set(done["metrics"])
    page = skugraph("gnn", "--config", config, settings=settings)
    assert page.returncode == 0, page.stderr
    assert "text and neighbours" in page.stdout
    for options in (("--config", "gnu"), ("--config", tmp_path / "none.json"), ("--seed", -1)):
        assert skugraph("gnn", *options, settings=settings).returncode == 2
