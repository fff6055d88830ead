"""What an encoder that takes entities is given of each product, on both graph engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from kg.stores import Stores
from kg.vectors import generations
from tests.shop import draw, put
from tests.tiny_encoder import TinyEncoder, write_tiny
from workers.jobs import get_job, submit_embed
from workers.tasks import step
from workers.tasks.embed import embed_step

KINDS = ("image", "text", "fused")


def contents(stores: Stores) -> dict[str, dict[str, np.ndarray]]:
    """Kind → instance id → vector, of the live generation."""
    live = generations.live(stores)
    assert live is not None
    found: dict[str, dict[str, np.ndarray]] = {}
    for kind, name in live.collections(stores.vectors.prefix).items():
        batches = list(stores.vectors.fetch_all(name))
        found[kind] = {i: v for b in batches for i, v in zip(b.instance_ids, b.vectors, strict=True)}
    return found


def test_an_encoder_that_takes_entities_is_given_what_fields_state(stores: Stores, tmp_path: Path) -> None:
    for n, colour in enumerate(("ivory", "", "ivory")):
        put(stores.graph, f"p{n}", title="Candle", pictures=[draw(tmp_path / f"{n}.png", n)], colour=colour)
    stores.graph.write(
        "MATCH (p:Product {id: 'p1'}) CREATE (p)-[:HAS_ENTITY {source: 'caption'}]->(:Entity {key: 'phrase:tall'})"
    )
    settings = stores.settings.model_copy(update={"embed_chunk": 2, "encode_batch": 2, "embed_kinds": KINDS})
    stores = Stores(settings, stores.graph, stores.vectors_uri)
    job = submit_embed(stores, write_tiny(tmp_path / "reader", entities=True))
    while not get_job(stores, job.id).over:
        step(stores, job.id, embed_step)
    encoder = TinyEncoder(entities=True)
    shared = [("brand", "aurora"), ("category", "home"), ("category", "home > candles")]
    given = [[*shared, ("colour", "ivory")], shared, [*shared, ("colour", "ivory")]]
    found = contents(stores)
    wanted = encoder.encode_texts(["Candle"] * 3, given)
    for n in range(3):
        np.testing.assert_allclose(found["text"][f"p{n}#txt"], wanted[n], atol=1e-6)
        with Image.open(tmp_path / f"{n}.png") as image:
            both = encoder.encode_items([image], ["Candle"], [given[n]])[0]
        np.testing.assert_allclose(found["fused"][f"p{n}#img0"], both, atol=1e-6)
    assert not np.allclose(wanted[0], encoder.encode_texts(["Candle"])[0])
