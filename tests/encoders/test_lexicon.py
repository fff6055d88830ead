from __future__ import annotations

from dataclasses import replace

import pytest

from encoders.data import said, stated_entities, with_entities
from encoders.lexicon import NONE, Lexicon, learn_lexicon
from kg.records import Product, entity_key

SHIRTS = (("brand", "Diesel"), ("category", "Apparel"), ("category", "Apparel > Shirts"), ("colour", "Navy Blue"))
BAGS = (("brand", "Golden Goose"), ("category", "Accessories"), ("category", "Accessories > Bags"), ("colour", "Blue"))
GIVEN = [SHIRTS, SHIRTS, BAGS, BAGS, (("brand", "Unique"), ("colour", "Navy blue"))]


@pytest.fixture
def lexicon() -> Lexicon:
    """Both brands and one colour are chosen."""
    chosen = {"brand:diesel", "brand:golden goose", "colour:navy blue"}
    rows = learn_lexicon(GIVEN, least_df=2)
    return Lexicon(tuple(replace(row, chosen=row.key in chosen) for row in rows), 4)


def keys(lexicon: Lexicon, row: list[int]) -> list[str]:
    return [
        lexicon.chosen[place].key
        if place < len(lexicon.chosen)
        else f"{lexicon.types[place - len(lexicon.chosen)]}:UNK"
        for place in row
        if place != NONE
    ]


def test_entities_of_a_record_are_those_of_the_graph() -> None:
    product = Product(
        id="1", title="t", brand="Diesel", category=("Apparel", "Shirts"), attributes=(("colour", "Navy Blue"),)
    )
    assert stated_entities(product) == SHIRTS
    in_graph = {entity.key for entity, _ in product.entities()}
    assert in_graph <= {entity_key(*one) for one in stated_entities(product)}


def test_what_enough_items_have_is_known(lexicon: Lexicon) -> None:
    known = {row.key: row for row in lexicon.rows}
    assert "brand:unique" not in known
    assert known["colour:navy blue"].df == 3
    assert known["colour:navy blue"].text == "Navy Blue"
    assert known["category:apparel > shirts"].text == "Shirts"
    assert [row.key for row in lexicon.rows] == sorted(known)


def test_given_unknown_and_mentioned(lexicon: Lexicon) -> None:
    texts = ["Diesel navy blue shirts", "a bag", "Unique bag", "by DIESEL, in blue", "nothing"]
    given = [SHIRTS, BAGS, (("brand", "Unique"), ("colour", "mauve"), ("material", "wool")), (), ()]
    found = [keys(lexicon, list(row)) for row in lexicon.find(texts, given)]
    assert found == [
        ["brand:diesel", "colour:navy blue"],
        ["brand:golden goose"],  # its colour is known and not chosen: the text may say it
        ["brand:UNK", "colour:UNK"],  # a type that was never seen counts for nothing
        ["brand:diesel"],
        [],
    ]


def test_half_given_the_text_is_asked_for_the_other_types(lexicon: Lexicon) -> None:
    text = "Diesel shirt, navy blue"
    [row] = lexicon.find([text], [[("brand", "Golden Goose")]])
    assert keys(lexicon, list(row)) == ["brand:golden goose", "colour:navy blue"]
    assert (lexicon.find([text]) == lexicon.find([text], [()])).all()
    assert (lexicon.find([text]) == lexicon.find([text], [SHIRTS])).all()


def test_a_masked_caption_holds_no_mention(lexicon: Lexicon) -> None:
    texts = ["Diesel Navy Blue shirts by DIESEL", "Golden goose bag", "Dieselpunk  Shirt", "diesel"]
    given = [SHIRTS, BAGS, SHIRTS, SHIRTS]
    masked = lexicon.masked(texts, lexicon.find(texts, given))
    assert masked == ["shirts by", "bag", "Dieselpunk  Shirt", ""]
    for text, entities in zip(masked, given, strict=True):
        own = {entity_key(*one) for one in entities} & lexicon.places.keys()
        assert not own & {key for mention in lexicon.mentions(text) for key in mention.keys}
    token = replace(lexicon, mask="token", token="[MASK]")
    assert token.masked(texts[:2], token.find(texts[:2])) == ["[MASK] [MASK] shirts by [MASK]", "[MASK] bag"]
    assert replace(lexicon, mask="none").masked(texts, lexicon.find(texts, given)) == texts


def test_what_is_unknown_or_not_chosen_stays_in_the_caption(lexicon: Lexicon) -> None:
    texts = ["Unique blue bags"]
    places = lexicon.find(texts, [(("brand", "Unique"), *BAGS[1:])])
    assert keys(lexicon, list(places[0])) == ["brand:UNK"]
    assert lexicon.masked(texts, places) == texts


def test_no_more_than_there_are_places(lexicon: Lexicon) -> None:
    few = replace(lexicon, per_item=1)
    assert few.find(["Diesel, navy blue"]).shape == (1, 1)
    assert Lexicon((), 4).find(["Diesel"]).tolist() == [[NONE] * 4]
    assert len(Lexicon((), 4)) == 0


def test_entities_as_plain_text() -> None:
    assert with_entities("A shirt", SHIRTS) == "A shirt. Diesel, Apparel, Shirts, Navy Blue"
    assert with_entities("A shirt", ()) == "A shirt"
    assert said("Category", "a > b") == "b"
    assert said("brand", "a > b") == "a > b"
