"""Rows of a table of any size, one at a time: CSV and TSV (RFC 4180, any of `, ; tab |`), JSON Lines, Parquet, and the
listing files of Product1M (a .txt whose first line holds `#####`)."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from kg.catalogue.product1m import BETWEEN, read_product1m, row
from kg.errors import BadColumnMap, BadInput, BadRecord

__all__ = ["Row", "count_rows_hint", "read_rows", "table_columns"]

Row = dict[str, str]
OnBad = Callable[[int, BadRecord], None]

SAMPLE_ROWS = 200
SAMPLE_BYTES = 1 << 20


def read_rows(path: Path, on_bad: OnBad | None = None) -> Iterator[tuple[int, Row]]:
    """(line, row) for every row; the line is the one its record starts on, in Parquet the row's number, from 1.

    Every value is text: numbers as written, missing ones empty, lists as JSON, fields of objects as `price.amount`.

    Args:
        path: .csv, .tsv, .txt, .jsonl, .ndjson or .parquet.
        on_bad: takes the rows that cannot be read at all (not UTF-8, not JSON, cells missing); reading goes on.

    Raises:
        BadInput: no such file, an unknown ending, no header, UTF-16, not Parquet.
        BadColumnMap: a header that names one column twice.
        BadRecord: a row that cannot be read, where `on_bad` is not given.
    """
    if not path.is_file():
        raise BadInput(f"no table at {path}")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise BadInput(f"{path}: the ending must be one of {', '.join(_READERS)}")
    return reader(path, on_bad or _raise)


def table_columns(path: Path) -> tuple[list[str], list[Row]]:
    """Columns of a table in their order, and its first rows, as `ColumnMap.guess` and `.check` want them."""
    rows = [row for _, row in islice(read_rows(path, lambda line, error: None), SAMPLE_ROWS)]
    columns = dict.fromkeys(column for row in rows for column in row)
    if not rows and path.suffix.lower() in (".csv", ".tsv", ".txt") and not _is_product1m(path):
        with path.open("rb") as file:
            columns = dict.fromkeys(_header(path, file.readline())[0])
    return list(columns), rows


def count_rows_hint(path: Path) -> int:
    """About how many rows the table has, for a progress bar: exact for Parquet, else from the first megabyte."""
    if path.suffix.lower() == ".parquet":
        return int(_parquet(path).metadata.num_rows)
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    lines = max(1, sample.count(b"\n"))
    return lines if len(sample) < SAMPLE_BYTES else round(path.stat().st_size * lines / len(sample))


def _csv(path: Path, on_bad: OnBad) -> Iterator[tuple[int, Row]]:
    with path.open("rb") as file:
        columns, delimiter = _header(path, file.readline())
        # Bytes that are not UTF-8 become lone surrogates: one bad cell must not end the file.
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="\n")
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        line = 2
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                on_bad(line, BadRecord("row", "", f"not CSV: {error}"))
                line = reader.line_num + 2
                continue
            start, line = line, reader.line_num + 2
            if not cells:
                continue
            if len(cells) != len(columns):
                on_bad(start, BadRecord("row", cells, f"{len(cells)} cells where the header has {len(columns)}"))
            elif bad := next((name for name, cell in zip(columns, cells, strict=True) if _escaped(cell)), None):
                raw = cells[columns.index(bad)].encode("utf-8", "surrogateescape")
                on_bad(start, BadRecord(bad, repr(raw)[2:-1], "not valid UTF-8"))
            else:
                yield start, dict(zip(columns, cells, strict=True))


def _txt(path: Path, on_bad: OnBad) -> Iterator[tuple[int, Row]]:
    if not _is_product1m(path):
        return _csv(path, on_bad)
    return ((line, row(listing)) for line, listing in read_product1m(path, on_bad))


def _is_product1m(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix.lower() == ".txt" and BETWEEN.encode() in file.readline(SAMPLE_BYTES)


def _header(path: Path, raw: bytes) -> tuple[list[str], str]:
    """Column names and the delimiter, from the first line."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in raw:
        raise BadInput(f"{path} is not UTF-8 but UTF-16 or binary", hint=f"iconv -f UTF-16 -t UTF-8 {path.name}")
    try:
        line = raw.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path}, line 1 is not valid UTF-8 (byte {raw[error.start]:#04x} at {error.start})",
            hint="convert it, for example with iconv -f WINDOWS-1252 -t UTF-8",
        ) from error
    if not line.strip():
        raise BadInput(f"{path} has no header line")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=line.count)
    columns = [column.strip() for column in next(csv.reader([line], delimiter=delimiter))]
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise BadColumnMap(f"{path} has the column {twice!r} twice")
    return columns, delimiter


def _jsonl(path: Path, on_bad: OnBad) -> Iterator[tuple[int, Row]]:
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            try:
                value = json.loads(raw.decode("utf-8-sig" if line == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                on_bad(line, BadRecord("row", repr(raw[:200])[2:-1], f"not valid UTF-8 at byte {error.start}"))
            except (ValueError, RecursionError) as error:  # also a number too long, lists too deep
                on_bad(line, BadRecord("row", raw[:200].decode("utf-8", "replace"), f"not JSON: {error}"))
            else:
                row = _flat(value) if isinstance(value, dict) else None
                if row is None:
                    on_bad(line, BadRecord("row", value, "not a JSON object"))
                elif bad := next((name for name, cell in row.items() if _escaped(name + cell)), None):
                    on_bad(line, BadRecord(bad, row[bad], "half of a surrogate pair, which is no character"))
                else:
                    yield line, row


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise BadInput(f"{path} is not Parquet: {error}") from error


def _parquet_rows(path: Path, on_bad: OnBad) -> Iterator[tuple[int, Row]]:
    with _parquet(path) as file:
        number = 0
        for batch in file.iter_batches(batch_size=1000):
            for value in batch.to_pylist():
                number += 1
                yield number, _flat(value)


def _flat(value: dict[str, Any], prefix: str = "") -> Row:
    row: Row = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            row |= _flat(inner, f"{prefix}{name}.")
        else:
            row[f"{prefix}{name}"] = _text(inner)
    return row


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(value, ensure_ascii=False, default=str)


def _escaped(cell: str) -> bool:
    return not cell.isascii() and any("\ud800" <= letter <= "\udfff" for letter in cell)


def _raise(line: int, error: BadRecord) -> None:
    raise error


_READERS: dict[str, Callable[[Path, OnBad], Iterator[tuple[int, Row]]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".txt": _txt,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet_rows,
}
