"""From ingest to searches with an encoder that takes entities, by the command line and a real worker process."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders import load
from encoders.protocol import entity_encoder
from kg.feed import changes
from kg.sample import write_sample
from kg.stores import Stores
from kg.vectors import generations
from tests.api.cli.run import answer, skugraph
from tests.conftest import wipe

pytestmark = pytest.mark.slow


def test_from_ingest_to_a_search_with_entities(embedded: Stores, tmp_path: Path) -> None:
    wipe(embedded)
    settings = embedded.settings
    sample = write_sample(tmp_path / "sample", products=24)
    answer("ingest", sample.table, "--images", sample.images, "--map", sample.map, settings=settings)
    folder = tmp_path / "ei"
    trained = skugraph(
        "train", "ei_clip", "--out", folder, "--config", "ei_clip_tiny", "--epochs", 1, settings=settings
    )
    assert trained.returncode == 0, trained.stderr
    assert "skugraph confounding" in trained.stdout

    found = answer("confounding", folder, settings=settings)
    known = {row["key"] for row in embedded.graph.read("MATCH (e:Entity) RETURN e.key AS key")}
    assert found["entities"] > 10  # what training read is what the graph has: the same keys
    assert found["unknown"] == 0
    assert {one["key"] for ends in found["types"].values() for one in ends["most"]} <= known
    assert {"brand", "category"} <= set(found["types"])
    assert 0 < found["chosen"] < found["entities"]

    assert answer("embed", "--encoder", folder, settings=settings)["state"] == "done"
    live = generations.live(embedded)
    assert live is not None
    product = next(one for one in changes(embedded.graph, 0, 100) if one.text and len(one.stated) > 3)
    stored = embedded.vectors.fetch(live.collections(embedded.vectors.prefix)["text"], [product.id])
    encoder = entity_encoder(load(folder))
    assert float(stored.vectors[0] @ encoder.encode_texts([product.text], [product.stated])[0]) == pytest.approx(
        1, abs=1e-4
    )
    assert float(stored.vectors[0] @ encoder.encode_texts([product.text])[0]) < 0.9999

    given = [word for kind, value in product.stated for word in ("--given", f"{kind}:{value}")]
    told = answer("search", product.text, *given, "-k", 5, settings=settings)
    best = {hit["product"]["id"]: hit["scores"].get("text-text", 0) for hit in told["hits"]}
    assert best[product.id] == pytest.approx(1, abs=1e-4)
    assert told["notes"] == []
    alone = answer("search", product.text, "-k", 5, settings=settings)
    assert product.id in {hit["product"]["id"] for hit in alone["hits"]}
    refused = skugraph("search", product.text, "--given", "aurora", settings=settings)
    assert refused.returncode == 2
    assert "type:value" in refused.stderr
