"""Queries with judged answers, searched as users search, and measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from api.models import SearchRequest
from api.search import Searcher
from kg.errors import BadInput

__all__ = ["PARTS", "measure", "read_queries", "search_all"]

PARTS = ("text", "image", "like", "filters")
KNOWN = {"id", "identity", *PARTS}


def read_queries(path: Path, *, k: int, parts: tuple[str, ...] = PARTS) -> Iterator[tuple[str, SearchRequest]]:
    """(id, search) for each query, in order.

    Args:
        path: JSON lines with `id` and `text`, `image` (a file, relative to this one), `like`, `filters`; or TSV lines
            `id<TAB>text`, the topics of TREC.
        k: products wanted for each.
        parts: which of the fields to ask with.

    Raises:
        BadInput: a file or line that is not as described, with its number; an id that comes twice.
    """
    seen: set[str] = set()
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        query = _query(path, number, line)
        if query["id"] in seen:
            raise BadInput(f"{path}, line {number}: query {query['id']!r} comes twice")
        seen.add(query["id"])
        fields = {name: query[name] for name in parts if query.get(name)}
        if "image" in fields:
            picture = path.parent / fields["image"]
            try:
                fields["image"] = picture.read_bytes()
            except OSError as error:
                raise BadInput(f"{path}, line {number}: picture {picture}: {error.strerror}") from error
        if not fields:
            raise BadInput(f"{path}, line {number}: query {query['id']!r} has none of {', '.join(parts)}")
        yield query["id"], SearchRequest.model_validate(fields | {"k": k})


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"queries {path}: {error}") from error


def _query(path: Path, number: int, line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        id, tab, text = line.partition("\t")
        if not tab:
            raise BadInput(f"{path}, line {number}: {line[:60]!r} is neither a JSON object nor id<TAB>text")
        return {"id": id, "text": text}
    try:
        query = json.loads(line)
    except ValueError as error:
        raise BadInput(f"{path}, line {number}: not JSON: {error}") from error
    if not isinstance(query.get("id"), str) or (unknown := sorted(set(query) - KNOWN)):
        what = f"unknown field {unknown[0]!r}" if isinstance(query.get("id"), str) else "no id"
        raise BadInput(f"{path}, line {number}: {what}", hint=f"known: {', '.join(sorted(KNOWN))}")
    return query


def search_all(
    searcher: Searcher, queries: Iterator[tuple[str, SearchRequest]], progress: Callable[[int], None]
) -> dict[str, list[tuple[str, float]]]:
    """Query → (product, score), best first."""
    run = {}
    for done, (id, request) in enumerate(queries, start=1):
        run[id] = [(hit.product.id, hit.score) for hit in searcher.search(request).hits]
        progress(done)
    return run


def measure(
    run: Mapping[str, list[tuple[str, float]]], qrels: Mapping[str, Mapping[str, int]], *, k: int
) -> dict[str, float]:
    """Means over the judged queries; a query without results counts as 0.

    Raises:
        BadInput: no query of the run is judged.
    """
    from encoders.evaluation.metrics import average_precision, ndcg, recall

    judged = [id for id in run if any(grade > 0 for grade in qrels.get(id, {}).values())]
    if not judged:
        raise BadInput("no query has a relevant product in the qrels", hint="do their ids agree?")
    found, total = np.zeros((len(judged), k), bool), np.zeros(len(judged), np.int64)
    for row, id in enumerate(judged):
        relevant = {product for product, grade in qrels[id].items() if grade > 0}
        total[row] = len(relevant)
        found[row, : len(run[id])] = [product in relevant for product, _ in run[id][:k]]
    first = np.where(found.any(axis=1), 1 / (1 + found.argmax(axis=1)), 0.0)
    figures = {"queries": float(len(judged)), "hit@1": float(found[:, 0].mean()), "MRR": float(first.mean())}
    for depth in sorted({1, 10, min(50, k), k} & set(range(1, k + 1))):
        figures[f"R@{depth}"] = float(recall(found, total, depth).mean())
    depth = min(10, k)
    figures[f"mAP@{depth}"] = float(average_precision(found, total, depth).mean())
    figures[f"nDCG@{depth}"] = float(ndcg(found, total, depth).mean())
    return figures
