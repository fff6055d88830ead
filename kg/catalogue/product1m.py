"""The listing files of Product1M (train, dev, test, gallery): UTF-8, one listing a line, `#####` between its fields.

    id ##### title ##### url ##### url of the same picture ##### label #;# label …

Spaces around a field do not count. Train lines have no labels; of multi-product listings a label may repeat, once for
each unit shown; the older files `id ##### labels` are read too. Pictures are called `{id}.jpg`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kg.errors import BadInput, BadRecord

__all__ = ["BETWEEN", "Listing1M", "read_product1m", "row", "write_product1m"]

BETWEEN, LABELS = "#####", "#;#"


@dataclass(frozen=True)
class Listing1M:
    """One line.

    Attributes:
        urls: of the one picture: the shop's and the data set's; empty where the line has none.
        labels: "brand product", a label once for each unit shown; empty in the train file.
    """

    id: str
    title: str
    urls: tuple[str, str] = ("", "")
    labels: tuple[str, ...] = ()

    @property
    def picture(self) -> str:
        """File name."""
        return f"{self.id}.jpg"


def read_product1m(
    path: Path, on_bad: Callable[[int, BadRecord], None] | None = None
) -> Iterator[tuple[int, Listing1M]]:
    """(line, listing), one at a time.

    Args:
        path: the file.
        on_bad: takes the lines that break the format; reading goes on.

    Raises:
        BadInput: no such file.
        BadRecord: a line without an id, with another number of fields, with an empty label, or not UTF-8, where
            `on_bad` is not given.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadInput(f"no table at {path}: {error.strerror}") from error
    with file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                yield number, _parse(raw, first=number == 1)
            except BadRecord as error:
                if on_bad is None:
                    raise BadRecord(error.field, error.value, f"{error.rule} ({path}, line {number})") from error
                on_bad(number, error)


def write_product1m(path: Path, listings: Iterable[Listing1M]) -> int:
    """Writes a file that `read_product1m` reads back to equal listings; gives their number.

    Raises:
        BadRecord: a value that the format has no room for: a line break, `#####`, white space at an end, a label with
            `#;#`, an empty id or label.
    """
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for count, listing in enumerate(listings, start=1):  # noqa: B007
            fields = [listing.id, listing.title, *listing.urls]
            if listing.labels:
                fields.append(LABELS.join(listing.labels))
            line = BETWEEN.join(fields)
            if "\n" in line or _parse(line.encode(), first=False) != listing:
                raise BadRecord("listing", listing, f"has no form between {BETWEEN} and {LABELS} on one line")
            file.write(line + "\n")
    return count


def row(listing: Listing1M) -> dict[str, str]:
    """The listing as columns of a table, see the ready-made map `product1m`. `identity` and `brand` are what its labels
    agree on: the label of a single product, and the first word of the labels."""
    labels = list(dict.fromkeys(listing.labels))
    brands = {label.split()[0] for label in labels if " " in label} if labels else set()
    return {
        "id": listing.id,
        "title": listing.title,
        "picture": listing.picture,
        "picture_url": listing.urls[0],
        "second_url": listing.urls[1],
        "labels": json.dumps(labels, ensure_ascii=False) if labels else "",
        "identity": labels[0] if len(labels) == 1 else "",
        "brand": brands.pop() if len(brands) == 1 and all(" " in label for label in labels) else "",
    }


def _parse(raw: bytes, *, first: bool) -> Listing1M:
    try:
        line = raw.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise BadRecord("row", repr(raw[:200])[2:-1], f"not valid UTF-8 at byte {error.start}") from error
    fields = [field.strip() for field in line.split(BETWEEN)]
    if len(fields) not in (2, 4, 5):
        raise BadRecord("row", line[:200].strip(), f"{len(fields)} fields between {BETWEEN}: 4, 5 with labels, are due")
    if not fields[0]:
        raise BadRecord("id", "", "every line needs an id")
    joined = fields[-1] if len(fields) != 4 else ""
    labels = tuple(label.strip() for label in joined.split(LABELS)) if joined else ()
    if not all(labels):
        raise BadRecord("labels", joined, f"an empty label between {LABELS}")
    if labels and labels[0].startswith(("http://", "https://")):
        raise BadRecord("labels", joined, f"a URL in their place: the title may hold {BETWEEN}")
    if len(fields) == 2:
        return Listing1M(fields[0], "", labels=labels)
    return Listing1M(fields[0], fields[1], (fields[2], fields[3]), labels)
