from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoders.appending import fitted, hidden, said_after
from encoders.backbones import TextBackbone, text_backbone
from encoders.data import TrainItem, appended
from encoders.lexicon import Lexicon, learn_lexicon
from tests.encoders.conftest import draw

FACTS = (("brand", "Diesel"), ("category", "Apparel > Shirts"), ("colour", "Navy Blue"))
LONG = " ".join(["a very good shirt, with buttons, and a collar;"] * 10)


@pytest.fixture(scope="module")
def text() -> TextBackbone:
    return text_backbone("minilm", places=24)


def read(text: TextBackbone, one: str) -> str:
    """What is left of a text when it is cut."""
    return text.tokenizer.decode(text.ids([one])[0], skip_special_tokens=True)  # type: ignore[attr-defined]


def test_a_long_text_makes_room_for_its_facts(text: TextBackbone) -> None:
    short, cut = said_after(["A shirt", LONG], [FACTS, FACTS], text)
    assert short == "A shirt. Diesel, Shirts, Navy Blue"
    assert cut.endswith(". Diesel, Shirts, Navy Blue")
    assert read(text, cut).endswith("diesel, shirts, navy blue")
    assert cut.startswith("a very good shirt, with buttons")
    assert len(text.ids([cut])[0]) == text.places  # no room is wasted
    assert said_after([LONG], [()], text) == [LONG]


def test_facts_have_half_of_the_places_and_what_fits_is_whole(text: TextBackbone) -> None:
    many = [("colour", f"Blue {n}") for n in range(9)]
    [cut] = said_after([LONG], [[("material", LONG), *many]], text)
    assert "Blue 0, Blue 1, Blue 2" in cut
    assert "Blue 8" not in cut
    title, _, facts = cut.partition(". ")
    room = text.places - 2
    assert len(text.ends([title])[0]) >= room // 2 - 1
    assert len(text.ends([facts])[0]) <= room // 2
    assert read(text, cut) == cut.lower()
    [beside] = said_after(["Shirt"], [many], text)  # a short title leaves them more
    assert beside.startswith("Shirt. Blue 0, Blue 1, Blue 2, Blue 3, Blue 4, Blue 5")
    assert len(text.ids([beside])[0]) <= text.places
    [nothing] = said_after([LONG], [[("material", LONG)]], text)
    assert read(text, nothing)


@pytest.mark.parametrize("title", ["shoes", "red shoes", "red running shoes"])
def test_a_short_title_is_there_whatever_is_said_after_it(text: TextBackbone, title: str) -> None:
    for many in range(8, 31, 3):
        for word in ("Blue", "Navy Blue", "Dry-clean", "Cottonette"):
            facts = [("colour", f"{word} {n}" if n % 3 else word) for n in range(many)]
            [found] = said_after([title], [facts], text)
            assert found.startswith(f"{title}. {word}"), (many, word)
            assert read(text, found).startswith(f"{title}. ")
            assert read(text, found).endswith(found[-4:].lower())  # nothing is cut off


def test_what_stands_beside_the_tokens_takes_places_of_the_title(text: TextBackbone) -> None:
    given, room = [FACTS, FACTS, FACTS[:1], ()], text.places - 2
    found = said_after([LONG] * 4, given, text, np.array([4, 0, 30, 4]))
    assert [len(text.ends([one])[0]) for one in found[:3]] == [room - 4, room, 1]
    assert [one.endswith(". Diesel, Shirts, Navy Blue") for one in found] == [True, True, False, False]
    assert found[3] == LONG
    rows = learn_lexicon([FACTS, FACTS], least_df=2)
    lexicon = Lexicon(tuple(replace(row, chosen=True) for row in rows), 4, "none", beside=True)
    places = lexicon.find([LONG], [FACTS])
    assert hidden(lexicon, [LONG], [FACTS], places, text) == said_after([LONG], [FACTS], text, np.array([3]))


def test_where_tokens_end(text: TextBackbone) -> None:
    assert text.ends(["Navy  blue!", ""]) == [[4, 10, 11], []]
    assert len(text.ends([LONG])[0]) > text.places  # nothing is cut
    assert len(text.ids([LONG])[0]) == text.places  # and nothing is remembered


def test_items_are_cut_likewise_and_keep_their_title(text: TextBackbone) -> None:
    items = [
        appended(TrainItem(str(n), str(n), title, lambda: draw("red", "cross", 0), entities=FACTS))
        for n, title in enumerate((LONG, "A shirt"))
    ]
    long, short = fitted(items, text)
    assert [long.text] == said_after([LONG], [FACTS], text)
    assert (long.title, long.alike) == (LONG, LONG)
    assert short is items[1]


@pytest.mark.parametrize("mask", ["remove", "token", "none"])
def test_what_is_masked_is_not_said_either(text: TextBackbone, mask: str) -> None:
    rows = learn_lexicon([FACTS, FACTS], least_df=2)
    lexicon = Lexicon(tuple(replace(row, chosen=row.type != "category") for row in rows), 4, mask, "[MASK]")
    titles, given = ["Diesel shirts in navy blue", "Shirts"], [FACTS, FACTS[1:2]]
    places = lexicon.find(titles, given)
    assert (
        hidden(lexicon, titles, given, places, text)
        == {
            "remove": ["shirts in. Shirts", "Shirts. Shirts"],
            "token": ["[MASK] shirts in [MASK]. Shirts", "Shirts. Shirts"],
            "none": ["Diesel shirts in navy blue. Diesel, Shirts, Navy Blue", "Shirts. Shirts"],
        }[mask]
    )
    assert hidden(lexicon, titles, None, places, text) == lexicon.masked(titles, places)
    bare = np.full_like(places, -1)
    assert hidden(lexicon, titles, given, bare, text) == said_after(titles, given, text)
