from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.catalogue.ingest import ingest
from kg.entities import Phrases, match_phrases, prune_entities, read_dictionary
from kg.errors import BadInput
from kg.graph.driver import Graph
from kg.records import normalise
from kg.stores import Stores
from tests.kg.catalogue.shop import MAP, dump, row, write_table, wrong_counts


def found(phrases: list[str], caption: str) -> list[str]:
    return [mention.text for mention in Phrases((phrase, phrase) for phrase in phrases).find(caption)]


@pytest.mark.parametrize(
    ("phrases", "caption", "expected"),
    [
        (["rose", "rose gold", "gold"], "Ring in ROSE  GOLD, rose", ["rose gold", "rose"]),
        (["oil", "olive"], "Oily olives, olive-oil", ["olive", "oil"]),
        (["w", "xl", "250"], "w xl 250", []),
        (["ahc", "黄金", "黄金水"], "韩国AHC黄金水套盒", ["ahc", "黄金水"]),
        (["金"], "黄金", []),
        (["straße"], "STRASSE", ["straße".casefold()]),
        (["café"], "Cafe\u0301 noir", ["café"]),
        (["dr. hauschka"], "Dr. Hauschka's", ["dr. hauschka"]),
        ([], "anything", []),
    ],
)
def test_find(phrases: list[str], caption: str, expected: list[str]) -> None:
    assert found(phrases, caption) == expected


words = st.lists(st.sampled_from(["oil", "olive", "rose", "gold", "roses", "olive oil", "rose gold"]), max_size=6)


@given(phrases=words, caption=words)
def test_find_agrees_with_a_naive_search(phrases: list[str], caption: list[str]) -> None:
    text, expected, at = " ".join(caption), [], 0
    while at < len(text):
        starts = [phrase for phrase in phrases if text.startswith(phrase, at) and text[:at][-1:] in ("", " ")]
        ends = [at + len(phrase) for phrase in starts if text[at + len(phrase) :][:1] in ("", " ")]
        if ends:
            expected.append(text[at : max(ends)])
        at = max([at + 1, *ends])
    assert found(phrases, text) == expected


@given(st.lists(st.text(max_size=5), max_size=8), st.text(max_size=30))
def test_what_is_found_is_there(phrases: list[str], caption: str) -> None:
    text, free = normalise(caption), 0
    for mention in Phrases((phrase, phrase) for phrase in phrases).find(caption):
        assert text[mention.start :].startswith(mention.text)
        assert mention.start >= free
        free = mention.start + len(mention.text)


def mentions(graph: Graph) -> set[tuple[str, str]]:
    rows = graph.read("MATCH (p)-[r:HAS_ENTITY {source: 'caption'}]->(e) RETURN p.id AS id, e.key AS key")
    return {(found["id"], found["key"]) for found in rows}


def revisions(graph: Graph) -> dict[str, int]:
    return {found["id"]: found["r"] for found in graph.read("MATCH (p:Product) RETURN p.id AS id, p.revision AS r")}


def test_captions_mention_what_fields_state_elsewhere(stores: Stores, tmp_path: Path) -> None:
    rows = [row(0), row(1, title="Umbria mug, blue and green", brand=""), row(2, brand="Solo")]
    ingest(stores, write_table(tmp_path, rows), tmp_path, MAP)
    # p1 is green by a field; "blue" is stated by p2; "Umbria" by nobody any more.
    assert mentions(stores.graph) == {("p1", "colour:blue")}
    assert not wrong_counts(stores.graph)
    before = dump(stores.graph, revisions=True)
    assert match_phrases(stores.graph) == 0
    assert dump(stores.graph, revisions=True) == before

    # The dictionary grows: an old, unchanged caption is looked at again, and takes a new revision.
    old = revisions(stores.graph)
    ingest(stores, write_table(tmp_path, [*rows, row(4, brand="Umbria")]), tmp_path, MAP)
    assert mentions(stores.graph) == {("p1", "colour:blue"), ("p1", "brand:umbria")}
    new = revisions(stores.graph)
    assert {id for id in old if old[id] != new[id]} == {"p1"}

    # It shrinks again: what only captions name goes.
    ingest(stores, write_table(tmp_path, rows), tmp_path, MAP, sync=True)
    assert mentions(stores.graph) == {("p1", "colour:blue")}
    assert stores.graph.read("MATCH (e:Entity {key: 'brand:umbria'}) RETURN e.key") == []
    assert not wrong_counts(stores.graph)


def test_a_changed_caption_loses_its_mentions(stores: Stores, tmp_path: Path) -> None:
    rows = [row(0, title="blue rim"), row(2)]
    ingest(stores, write_table(tmp_path, rows), tmp_path, MAP)
    assert mentions(stores.graph) == {("p0", "colour:blue")}
    ingest(stores, write_table(tmp_path, [row(0, title="plain"), row(2)]), tmp_path, MAP)
    assert mentions(stores.graph) == set()
    assert not wrong_counts(stores.graph)


def test_a_dictionary_of_ones_own(stores: Stores, tmp_path: Path) -> None:
    ingest(stores, write_table(tmp_path, [row(0, title="Hand-thrown mug by Solo"), row(1)]), tmp_path, MAP)
    dictionary = tmp_path / "phrases.tsv"
    dictionary.write_text(
        "# craft\nTechnique\thand-thrown\n\nbrand\tSolo\ntechnique\tnowhere named\n", encoding="utf-8"
    )
    assert match_phrases(stores.graph, dictionary) == 1
    assert mentions(stores.graph) == {("p0", "technique:hand-thrown"), ("p0", "brand:solo")}
    labels = stores.graph.read("MATCH (e:Brand {key: 'brand:solo'}) RETURN e.text AS text, e.df AS df")
    assert labels == [{"text": "Solo", "df": 1}]
    assert match_phrases(stores.graph) == 1  # without it they go again
    assert prune_entities(stores.graph) == 2
    assert mentions(stores.graph) == set()


@pytest.mark.parametrize("content", [b"colour red\n", b"colour\t\n", b"\xff\n", b"colour\t" + b"x" * 201])
def test_a_dictionary_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "phrases.tsv").write_bytes(content)
    with pytest.raises(BadInput, match="phrase dictionary"):
        read_dictionary(tmp_path / "phrases.tsv")
    with pytest.raises(BadInput, match="phrase dictionary"):
        read_dictionary(tmp_path / "none.tsv")
