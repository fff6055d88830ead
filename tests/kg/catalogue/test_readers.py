from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kg.catalogue.readers import count_rows_hint, read_rows, table_columns
from kg.errors import BadColumnMap, BadInput, BadRecord


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path) -> tuple[list[tuple[int, dict[str, str]]], list[tuple[int, BadRecord]]]:
    bad: list[tuple[int, BadRecord]] = []
    return list(read_rows(path, lambda line, error: bad.append((line, error)))), bad


def test_csv_keeps_lines_quotes_and_line_breaks(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", '\ufeffid,title\r\n1,"a, b"\r\n\r\n2,"two\nlines\u2028more"\n3,last')
    assert read(table) == (
        [
            (2, {"id": "1", "title": "a, b"}),
            (4, {"id": "2", "title": "two\nlines\u2028more"}),
            (6, {"id": "3", "title": "last"}),
        ],
        [],
    )


@pytest.mark.parametrize(("name", "content"), [("a.csv", "id;t\n1;x,y\n"), ("a.tsv", "id\tt\n1\tx,y\n")])
def test_other_delimiters(tmp_path: Path, name: str, content: str) -> None:
    assert read(write(tmp_path / name, content))[0] == [(2, {"id": "1", "t": "x,y"})]


def test_bad_csv_rows_are_handed_over_and_the_rest_goes_on(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", b'id,title\n1,Caf\xe9\n2\n3,"x"y\n4,Caf\xc3\xa9\n5,"open\n6,x\n')
    rows, bad = read(table)
    assert rows == [(5, {"id": "4", "title": "Café"})]
    assert [(line, error.field, error.rule.split(":")[0]) for line, error in bad] == [
        (2, "title", "not valid UTF-8"),
        (3, "row", "1 cells where the header has 2"),
        (4, "row", "not CSV"),
        (6, "row", "not CSV"),
    ]
    with pytest.raises(BadRecord, match="not valid UTF-8"):
        list(read_rows(table))


def test_jsonl(tmp_path: Path) -> None:
    value = {"id": 7, "price": {"amount": 1.50, "currency": None}, "images": ["a", "b"], "new": True}
    lines = [json.dumps(value).encode(), b"", b"[1]", b"{", b'{"t": "\xe9"}']
    rows, bad = read(write(tmp_path / "a.jsonl", b"\n".join(lines)))
    assert rows == [
        (1, {"id": "7", "price.amount": "1.5", "price.currency": "", "images": '["a", "b"]', "new": "true"})
    ]
    assert [line for line, _ in bad] == [3, 4, 5]


def test_json_that_is_no_text_or_too_much(tmp_path: Path) -> None:
    half, long, deep = rb'{"id": "a", "t": "x\ud800"}', b'{"id": ' + b"9" * 5000 + b"}", b"[" * 100_000
    rows, bad = read(write(tmp_path / "a.jsonl", b"\n".join([half, long, deep, b'{"id": "b"}'])))
    assert rows == [(4, {"id": "b"})]
    assert [(line, error.field) for line, error in bad] == [(1, "t"), (2, "row"), (3, "row")]


def test_parquet(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "price": [1.5, float("nan")], "tags": [["a"], None]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")[0] == [
        (1, {"id": "1", "price": "1.5", "tags": '["a"]'}),
        (2, {"id": "2", "price": "", "tags": ""}),
    ]
    assert count_rows_hint(tmp_path / "a.parquet") == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "id,title\n".encode("utf-16"), "UTF-16"),
        ("a.csv", "größe,title\n".encode("latin-1"), "line 1 is not valid UTF-8"),
        ("a.csv", b"", "no header"),
        ("a.parquet", b"PAR0", "not Parquet"),
        ("a.xlsx", b"PK", "the ending must be one of"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        list(read_rows(write(tmp_path / name, content)))


def test_a_missing_file_and_a_doubled_column(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no table at"):
        list(read_rows(tmp_path / "none.csv"))
    with pytest.raises(BadColumnMap, match="'id' twice"):
        list(read_rows(write(tmp_path / "a.csv", "id,id\n1,2\n")))


def test_columns_and_hint(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", "id,title\n" + "".join(f"{i:06},t{i:06}\n" for i in range(300_000)))
    columns, rows = table_columns(table)
    assert columns == ["id", "title"]
    assert len(rows) == 200
    assert abs(count_rows_hint(table) - 300_000) < 3_000
    assert table_columns(write(tmp_path / "b.csv", "id,title\n")) == (["id", "title"], [])
    mixed = write(tmp_path / "c.jsonl", '{"id": 1}\n{"id": 2, "title": "x"}\n')
    assert table_columns(mixed)[0] == ["id", "title"]
