"""What a training found of an entity, as the API tells it, on both graph engines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from kg.confounding import Finding, write
from kg.stores import Stores

KEYS = ("brand:diesel", "brand:aurora", "colour:red")
SIMILAR = """
MATCH (a:Entity {key: 'brand:aurora'})
MATCH (b:Entity {key: 'brand:diesel'})
CREATE (a)-[:SIMILAR_TO {weight: 0.5, source: 'text'}]->(b)
"""


@pytest.fixture
def api(stores: Stores) -> Iterator[TestClient]:
    for key in KEYS:
        kind, _, text = key.partition(":")
        stores.graph.write(
            "CREATE (:Entity {key: $key, type: $kind, text: $text, df: 2})", key=key, kind=kind, text=text
        )
    stores.graph.write(SIMILAR)
    findings = [Finding("brand:diesel", 1.25, 1.25, 0.5, True), Finding("brand:aurora", None, 0.125, None, False)]
    write(stores.graph, findings, by="f" * 64)
    with TestClient(create_app(stores.settings), base_url="http://127.0.0.1:8765") as client:
        yield client


def test_an_entity_says_how_much_its_words_mislead(api: TestClient) -> None:
    names = ("confounding", "mismatch", "drop_in_loss", "chosen")
    found = {key: api.get(f"/v1/entities/{key}").json() for key in KEYS}
    assert [tuple(found[key][name] for name in names) for key in KEYS] == [
        (1.25, 1.25, 0.5, True),
        (None, 0.125, None, False),
        (None, None, None, False),
    ]


def test_so_does_a_node_of_a_neighbourhood_from_either_end(api: TestClient) -> None:
    for key in ("brand:diesel", "brand:aurora"):
        nodes = api.get(f"/v1/entities/{key}/neighbourhood").json()["nodes"]
        assert {node["key"]: (node["confounding"], node["chosen"]) for node in nodes} == {
            "brand:diesel": (1.25, True),
            "brand:aurora": (None, False),
        }
