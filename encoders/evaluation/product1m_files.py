"""Product1M's questions and answers as files: its submissions, and its queries for `skugraph eval`.

    python -m encoders.evaluation.product1m_files --queries product1m_dev.txt --gallery product1m_gallery.txt \\
        --images DIR --out DIR

writes `queries.jsonl` (title and picture of each multi-product listing) and `qrels.txt` (every gallery listing of one
of its labels), and with `--run RUN` and `--submission FILE` turns a run over them into a submission.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from encoders.evaluation.product1m import qrels_of
from encoders.evaluation.trec import Run, ranked_items, read_run
from kg.catalogue.product1m import read_product1m
from kg.errors import BadInput, BadRecord, SkugraphError

__all__ = ["gallery_labels", "main", "query_labels", "read_submission", "write_queries", "write_submission"]

PLACES = 100  # items of a query in a submission


def gallery_labels(path: Path) -> dict[str, str]:
    """Item → label of a gallery file; of an item with several labels the first, as the evaluation script has it.

    Raises:
        BadInput: no such file, an item twice.
        BadRecord: a line that breaks the format or has no label.
    """
    return {item: labels[0] for item, labels in query_labels(path).items()}


def query_labels(path: Path) -> dict[str, tuple[str, ...]]:
    """Listing → its labels, repeats kept, of a dev or test file. Raises as `gallery_labels`."""
    found: dict[str, tuple[str, ...]] = {}
    for line, listing in read_product1m(path):
        if not listing.labels:
            raise BadRecord("labels", "", f"{path}, line {line}: listing {listing.id} has no label")
        if listing.id in found:
            raise BadInput(f"{path}, line {line}: listing {listing.id} comes twice")
        found[listing.id] = listing.labels
    return found


def write_queries(queries: Path, gallery: Path, images: Path | None, out: Path) -> tuple[int, int]:
    """Writes `queries.jsonl` and `qrels.txt` under `out`; gives the number of queries and of judgements.

    Args:
        queries: a dev or test file.
        gallery: the gallery file.
        images: folder of the pictures, `{id}.jpg`; None: the queries are titles alone.
        out: is made.

    Raises:
        BadInput: as `gallery_labels`; a label of a query that no gallery item has.
        BadRecord: a line that breaks the format.
    """
    labels, items = query_labels(queries), gallery_labels(gallery)
    known = set(items.values())
    for query, wanted in labels.items():
        if lacking := [label for label in wanted if label not in known]:
            raise BadInput(f"query {query!r}: label {lacking[0]!r} has no item in {gallery}")
    out.mkdir(parents=True, exist_ok=True)
    with (out / "queries.jsonl").open("w", encoding="utf-8") as file:
        for _, listing in read_product1m(queries):
            line = {"id": listing.id, "text": listing.title}
            if images:
                line["image"] = os.path.relpath(images / listing.picture, out)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    count = 0
    with (out / "qrels.txt").open("w", encoding="utf-8") as file:
        for query, judged in qrels_of(labels, items).items():
            for item in judged:
                file.write(f"{query} 0 {item} 1\n")
            count += len(judged)
    return len(labels), count


def write_submission(path: Path, ranked: Mapping[str, Sequence[str]]) -> None:
    """Writes `query,item,item,…`, the best 100 of each query, or as many as there are.

    Raises:
        BadInput: an id that the format has no room for (a comma, white space at an end, a line break), or a query
            without an item.
    """
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for query, items in ranked.items():
            line = ",".join([query, *items[:PLACES]])
            cells = [query, *items[:PLACES]]
            if not items or not all(cells) or "\r" in line or _cells(line) != cells:
                raise BadInput(f"query {query!r}, {len(items)} items: at least one, and ids without commas and spaces")
            file.write(line + "\n")


def read_submission(path: Path) -> dict[str, list[str]]:
    """Query → items, best first.

    Raises:
        BadInput: no such file.
        BadRecord: a line without an item, with an empty id, not UTF-8, or with a query that came before.
    """
    found: dict[str, list[str]] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadInput(f"no submission at {path}: {error.strerror}") from error
    for number, raw in enumerate(lines, start=1):
        if not raw.strip():
            continue
        try:
            query, *items = _cells(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise BadRecord("line", repr(raw[:80])[2:-1], f"not valid UTF-8 ({path}, line {number})") from error
        if not items or not all([query, *items]):
            raise BadRecord("line", raw.decode()[:80], f"`query,item,item,…` is expected ({path}, line {number})")
        if query in found:
            raise BadRecord("query", query, f"comes twice ({path}, line {number})")
        found[query] = items
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m encoders.evaluation.product1m_files", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--queries", type=Path, help="dev or test file")
    parser.add_argument("--gallery", type=Path, help="gallery file")
    parser.add_argument("--images", type=Path, help="folder of the queries' pictures")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of queries.jsonl and qrels.txt")
    parser.add_argument("--run", type=Path, help="TREC run to turn into a submission")
    parser.add_argument("--submission", type=Path, help="where to")
    options = parser.parse_args(arguments)
    if not (options.queries and options.gallery) and not (options.run and options.submission):
        parser.error("--queries and --gallery, or --run and --submission, are needed")
    try:
        if options.queries:
            queries, judgements = write_queries(options.queries, options.gallery, options.images, options.out)
            print(f"{queries:,} queries, {judgements:,} judgements in {options.out}")
        if options.run:
            run: Run = read_run(options.run)
            write_submission(options.submission, {query: ranked_items(scores) for query, scores in run.items()})
            print(f"{len(run):,} queries in {options.submission}")
    except SkugraphError as error:
        print(error)
        return 2
    return 0


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split(",")]


if __name__ == "__main__":
    raise SystemExit(main())
