"""The mined dictionary in the graph, on both engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import ingest
from kg.dictionary import Mining, mined_entities
from kg.entities import match_phrases, prune_entities
from kg.graph.driver import Graph
from kg.stores import Stores
from tests.kg.catalogue.shop import MAP, dump, row, write_table, wrong_counts

ON = Mining("on")
TITLES = ColumnMap.parse({"fields": {"id": "id", "title": "title"}})
WORDS = ("copper kettle", "linen apron", "oak board", "copper pan")


def links(graph: Graph, source: str = "mined") -> set[tuple[str, str]]:
    rows = graph.read(
        "MATCH (p)-[r:HAS_ENTITY]->(e) WHERE r.source = $source RETURN p.id AS id, e.key AS key", source=source
    )
    return {(found["id"], found["key"]) for found in rows}


def phrases(graph: Graph) -> set[str]:
    return {found["key"] for found in graph.read("MATCH (m:Phrase) RETURN m.key AS key")}


def fill(stores: Stores, folder: Path, titles: Sequence[str], **settings: object) -> None:
    table = folder / "titles.csv"
    table.write_text("id,title\n" + "".join(f'p{n},"{title}"\n' for n, title in enumerate(titles)), encoding="utf-8")
    known = replace(stores, settings=stores.settings.model_copy(update=settings))
    ingest(known, table, folder, TITLES, sync=True)


def test_titles_alone_give_entities(stores: Stores, tmp_path: Path) -> None:
    fill(stores, tmp_path, WORDS)
    assert links(stores.graph) == {("p0", "phrase:copper"), ("p3", "phrase:copper")}
    [entity] = stores.graph.read("MATCH (e:Attribute {key: 'phrase:copper'}) RETURN e.type AS type, e.df AS df")
    assert entity == {"type": "phrase", "df": 2}
    assert not wrong_counts(stores.graph)
    before = dump(stores.graph, revisions=True)
    fill(stores, tmp_path, WORDS)
    assert dump(stores.graph, revisions=True) == before

    # Another catalogue: what nothing mentions any more goes.
    fill(stores, tmp_path, ("green tea", "black tea"))
    assert links(stores.graph) == {("p0", "phrase:tea"), ("p1", "phrase:tea")}
    assert phrases(stores.graph) == {"phrase:tea"}
    assert not stores.graph.read("MATCH (e:Entity {key: 'phrase:copper'}) RETURN e.key")
    assert not wrong_counts(stores.graph)


def test_a_first_and_a_second_way_give_the_same_graph(stores: Stores, tmp_path: Path) -> None:
    fill(stores, tmp_path, (*WORDS, "linen cloth", "oak bowl"))
    expected = dump(stores.graph)
    fill(stores, tmp_path, WORDS[:2])
    fill(stores, tmp_path, (*WORDS, "linen cloth", "oak bowl"))
    assert dump(stores.graph) == expected


def test_fields_that_say_enough_are_not_mined(stores: Stores, tmp_path: Path) -> None:
    table = write_table(tmp_path, [row(n) for n in range(4)])
    ingest(stores, table, tmp_path, MAP)
    assert not links(stores.graph)
    assert not phrases(stores.graph)
    assert match_phrases(stores.graph, mining=ON)
    assert links(stores.graph) == {(f"p{n}", "phrase:mug") for n in range(4)}  # the colours are stated
    assert match_phrases(stores.graph, mining=Mining("off"))
    assert prune_entities(stores.graph) == 1
    assert not phrases(stores.graph)
    assert not wrong_counts(stores.graph)


def test_a_spelling_of_what_a_field_states_is_that_entity(stores: Stores, tmp_path: Path) -> None:
    rows = [row(0, brand="Café Noir"), row(1, title="Cafe-Noir one"), row(2, title="cafe-noir two")]
    ingest(stores, write_table(tmp_path, rows), tmp_path, MAP)
    assert not links(stores.graph, "caption")
    match_phrases(stores.graph, mining=ON)
    assert links(stores.graph, "caption") == {("p1", "brand:café noir"), ("p2", "brand:café noir")}
    assert not links(stores.graph)


def test_mined_again_only_when_much_changed(stores: Stores, tmp_path: Path) -> None:
    titles = [f"tea {'green' if n % 2 else 'black'}" for n in range(20)]
    fill(stores, tmp_path, titles)
    assert phrases(stores.graph) == {"phrase:tea", "phrase:green", "phrase:black"}
    fill(stores, tmp_path, [*titles, "cup", "cup"])  # a tenth more: known phrases are found, new ones not looked for
    assert "phrase:cup" not in phrases(stores.graph)
    fill(stores, tmp_path, [*titles, "cup", "cup", "tea"])
    assert "phrase:cup" in phrases(stores.graph)
    fill(stores, tmp_path, [*titles, "cup", "jug", "jug"])
    assert "phrase:jug" not in phrases(stores.graph)
    assert {one.key for one in mined_entities(stores.graph, replace(Mining(), renew=True))} > {"phrase:jug"}
    titles += ["cup", "jug", "jug"]
    fill(stores, tmp_path, [*titles, "pan", "pan"])
    assert "phrase:pan" not in phrases(stores.graph)
    ingest(stores, tmp_path / "titles.csv", tmp_path, TITLES, renew_phrases=True)
    assert "phrase:pan" in phrases(stores.graph)
    assert {key for _, key in links(stores.graph)} >= {"phrase:pan"}
    fill(stores, tmp_path, titles, mine_least_df=3)  # another rule
    assert phrases(stores.graph) == {"phrase:tea", "phrase:green", "phrase:black"}


def test_at_most_so_many_of_a_product_the_rarest_first(stores: Stores, tmp_path: Path) -> None:
    words = [f"word{chr(97 + n)}" for n in range(20)]
    fill(stores, tmp_path, ["; ".join(words), "; ".join(words), "; ".join(words[:10])])
    assert len(links(stores.graph)) == 15 + 15 + 10
    rarest = {key for id, key in links(stores.graph) if id == "p0"}
    assert rarest >= {f"phrase:{word}" for word in words[10:]}
    fill(stores, tmp_path, ["; ".join(words), "; ".join(words), "; ".join(words[:10])], entities_per_product=3)
    assert len(links(stores.graph)) == 9
    assert not wrong_counts(stores.graph)


def test_a_round_that_was_killed_leaves_nothing(stores: Stores, tmp_path: Path) -> None:
    fill(stores, tmp_path, WORDS)
    before = dump(stores.graph)
    stores.graph.write("CREATE (m:Phrase {round: 'dead', key: 'phrase:ghost', spellings: ['ghost']})")
    match_phrases(stores.graph, mining=replace(Mining(), renew=True))
    assert dump(stores.graph) == before


def test_a_model_names_what_it_knows(stores: Stores, tmp_path: Path) -> None:
    def recognise(captions: Sequence[str]) -> list[list[tuple[str, str]]]:
        return [[("material", "Copper")] if "copper" in caption else [] for caption in captions]

    fill(stores, tmp_path, WORDS)
    match_phrases(stores.graph, mining=Mining("on", recognise=recognise, model="mine"))
    assert links(stores.graph) == {("p0", "material:copper"), ("p3", "material:copper")}
    assert not wrong_counts(stores.graph)


def test_an_entity_of_many_products(stores: Stores, tmp_path: Path) -> None:
    fill(stores, tmp_path, [f"tea {n}" for n in range(3000)])
    [entity] = stores.graph.read("MATCH (e:Entity {key: 'phrase:tea'}) RETURN e.df AS df")
    assert entity["df"] == 3000
    assert not wrong_counts(stores.graph)


@pytest.mark.parametrize("title", ["the and of with", "👍🏽 🎉", "12 34", "10 ml x 5"])
def test_captions_that_say_nothing(stores: Stores, tmp_path: Path, title: str) -> None:
    fill(stores, tmp_path, [title, title])
    assert not links(stores.graph)
    assert not phrases(stores.graph)
