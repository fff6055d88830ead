"""Product1M's listing files: read, written, taken as a catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.catalogue.columns import ColumnMap
from kg.catalogue.product1m import Listing1M, read_product1m, write_product1m
from kg.catalogue.readers import count_rows_hint, read_rows, table_columns
from kg.errors import BadInput, BadRecord

SET = "1#####红 石榴 套装#####https://a/1.jpg#####http://b/1.jpg#####伊 面霜#;#伊 水#;#伊 面霜\n"
ONE = "2 ##### 面霜 50g ##### https://a/2.jpg ##### http://b/2.jpg ##### 伊 面霜 \n"
BARE = "3#####title without labels#####u#####v\n"


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_fields_repeated_labels_and_lines_without_them(tmp_path: Path) -> None:
    found = list(read_product1m(write(tmp_path / "a.txt", "\ufeff" + SET + "\n" + ONE + BARE + "4#####伊 水\n")))
    assert found == [
        (1, Listing1M("1", "红 石榴 套装", ("https://a/1.jpg", "http://b/1.jpg"), ("伊 面霜", "伊 水", "伊 面霜"))),
        (3, Listing1M("2", "面霜 50g", ("https://a/2.jpg", "http://b/2.jpg"), ("伊 面霜",))),
        (4, Listing1M("3", "title without labels", ("u", "v"))),
        (5, Listing1M("4", "", labels=("伊 水",))),
    ]
    assert found[1][1].picture == "2.jpg"


word = (
    st.text(st.characters(exclude_characters="#\n", exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)
)


@given(
    st.lists(
        st.builds(Listing1M, word, word | st.just(""), st.tuples(word, word), st.lists(word, max_size=4).map(tuple))
    )
)
def test_written_and_read_back(tmp_path_factory: pytest.TempPathFactory, listings: list[Listing1M]) -> None:
    path = tmp_path_factory.mktemp("written") / "a.txt"
    assert write_product1m(path, listings) == len(listings)
    assert [listing for _, listing in read_product1m(path)] == listings


@pytest.mark.parametrize(
    "listing",
    [Listing1M("1", "a#####b"), Listing1M("1", "a\nb"), Listing1M(" 1", "a"), Listing1M("1", "a", labels=("x#;#y",)),
     Listing1M("", "a"), Listing1M("1", "a", labels=("x", ""))],
)  # fmt: skip
def test_what_the_format_cannot_hold_is_not_written(tmp_path: Path, listing: Listing1M) -> None:
    with pytest.raises(BadRecord):
        write_product1m(tmp_path / "a.txt", [listing])


def test_bad_lines_are_handed_over_with_their_numbers(tmp_path: Path) -> None:
    bad_lines = (
        b"5#####a#####b\n" + b"#####t#####u#####v\n" + b"6#####\xe9#####u#####v\n" + b"7#####t#####u#####v#####a#;#\n"
    )
    path = write(tmp_path / "a.txt", SET.encode() + bad_lines + ONE.encode())
    bad: list[tuple[int, str]] = []
    found = [line for line, _ in read_product1m(path, lambda line, error: bad.append((line, error.field)))]
    assert found == [1, 6]
    assert bad == [(2, "row"), (3, "id"), (4, "row"), (5, "labels")]
    with pytest.raises(BadRecord, match=r"3 fields between #####.*line 2"):
        list(read_product1m(path))
    with pytest.raises(BadInput, match="no table"):
        list(read_product1m(tmp_path / "none.txt"))


def test_as_a_table_of_the_catalogue(tmp_path: Path) -> None:
    path = write(tmp_path / "product1m_gallery.txt", SET + ONE + BARE)
    columns, rows = table_columns(path)
    ready = ColumnMap.load("product1m")
    ready.check(columns)
    for columns_map in (ready, ColumnMap.guess(columns, rows)):
        products = [columns_map.record(row) for _, row in read_rows(path)]
        assert [product.id for product in products] == ["1", "2", "3"]
        assert [product.pictures[0].uri for product in products] == ["1.jpg", "2.jpg", "3.jpg"]
        assert [product.identity for product in products] == ["", "伊 面霜", ""]
        assert [product.brand for product in products] == ["伊", "伊", ""]
    assert ready.record(rows[0]).attributes == (("label", "伊 面霜"), ("label", "伊 水"))
    assert count_rows_hint(path) == 3


def test_other_text_tables_are_still_csv(tmp_path: Path) -> None:
    assert list(read_rows(write(tmp_path / "a.txt", "id;title\n1;a ##### b\n"))) == [
        (2, {"id": "1", "title": "a ##### b"})
    ]
    bad: list[int] = []
    path = write(tmp_path / "b.txt", SET + "nonsense\n")
    assert len(list(read_rows(path, lambda line, error: bad.append(line)))) == 1
    assert bad == [2]


def test_a_title_with_the_mark_between_fields_is_not_taken_for_labels(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("1 ##### hand#####cream ##### https://a/1.jpg ##### https://b/1.jpg\n")
    with pytest.raises(BadRecord, match="the title may hold #####"):
        list(read_product1m(tmp_path / "train.txt"))
