"""Queries, judgements and runs as files that the tools of the field read too, and their mean scores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.evaluation import metrics
from kg.errors import BadInput

__all__ = ["Query", "Run", "judge", "ranked_items", "read_qrels", "read_queries", "read_run", "write_run"]

Qrels = dict[str, dict[str, int]]  # query → product → grade; above 0 is relevant
Run = Mapping[str, Mapping[str, float]]  # query → product → score


@dataclass(frozen=True)
class Query:
    """A question with an answer in the qrels: a text, a picture, or both."""

    id: str
    text: str = ""
    image: Path | None = None


def read_queries(path: Path) -> list[Query]:
    """Queries of a file: JSON lines `{"id", "text", "image"}` (picture relative to the file; other keys are left
    alone), or TREC's plain form, `id<TAB>text`, for any other ending than .jsonl.

    Raises:
        BadInput: the file or a line does not hold that, or an id comes twice.
    """
    found: dict[str, Query] = {}
    for number, line in _lines(path):
        if path.suffix == ".jsonl":
            query = _json_query(line, path, number)
        else:
            name, _, text = line.partition("\t")
            query = Query(name.strip(), text.strip())
        if not query.id or not (query.text or query.image):
            raise BadInput(f"{path}:{number}: a query needs an id, and a text or a picture: {line[:80]!r}")
        if query.id in found:
            raise BadInput(f"{path}:{number}: query {query.id!r} comes twice")
        found[query.id] = query
    return list(found.values())


def _json_query(line: str, path: Path, number: int) -> Query:
    try:
        value = json.loads(line)
        image = path.parent / value["image"] if value.get("image") else None
        return Query(str(value["id"]), value.get("text") or "", image)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f'{path}:{number}: not a JSON object with "id", and "text" or "image": {line[:80]!r}') from error


def read_qrels(path: Path) -> Qrels:
    """Judgements, `query 0 product grade`, white space between.

    Raises:
        BadInput: a line of another form.
    """
    found: Qrels = {}
    for number, line in _lines(path):
        try:
            query, _, product, grade = line.split()
            found.setdefault(query, {})[product] = int(grade)
        except ValueError as error:
            raise BadInput(f"{path}:{number}: `query 0 product grade` is expected: {line[:80]!r}") from error
    return found


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """A run, `query Q0 product rank score tag`; the score decides, as in trec_eval.

    Raises:
        BadInput: a line of another form, a score that is no number, or a product twice in one list.
    """
    found: dict[str, dict[str, float]] = {}
    for number, line in _lines(path):
        try:
            query, _, product, _, score, _ = line.split()
            value = float(score)
            if value != value:
                raise ValueError("not a number")
            if product in found.get(query, ()):
                raise BadInput(f"{path}:{number}: query {query!r} has product {product!r} twice: each has one place")
        except ValueError as error:
            raise BadInput(f"{path}:{number}: `query Q0 product rank score tag` is expected: {line[:80]!r}") from error
        found.setdefault(query, {})[product] = value
    return found


def write_run(path: Path, run: Run, *, tag: str = "skugraph") -> None:
    """Writes a run, best first.

    Raises:
        BadInput: an id with white space, which the format cannot hold.
    """
    with path.open("w", encoding="utf-8") as file:
        for query, scores in run.items():
            for rank, product in enumerate(ranked_items(scores), start=1):
                if len(f"{query} {product}".split()) != 2:
                    raise BadInput(
                        f"query {query!r}, product {product!r}: a TREC run has no room for white space in ids"
                    )
                file.write(f"{query} Q0 {product} {rank} {float(scores[product])!r} {tag}\n")


def judge(qrels: Mapping[str, Mapping[str, int]], run: Run, *, ks: Sequence[int] = (1, 5, 10, 50)) -> dict[str, float]:
    """Means over all judged queries with something relevant; a query that the run lacks scores 0.

    `R@k` and `mAP@k` are trec_eval's recall_k and map_cut_k, `hit@k` its success_k, `MRR` its recip_rank, `nDCG@k` its
    ndcg_cut_k with grades taken as relevant or not. Equal scores are ordered as trec_eval does, by id from the last.

    Raises:
        BadInput: nothing is judged relevant.
    """
    wanted = {query: {p for p, grade in grades.items() if grade > 0} for query, grades in qrels.items()}
    wanted = {query: products for query, products in wanted.items() if products}
    if not wanted:
        raise BadInput("the qrels judge nothing relevant")
    depth = max(*ks, *(len(scores) for scores in run.values()), 1)
    found: NDArray[np.bool_] = np.zeros((len(wanted), depth), bool)
    for row, (query, products) in enumerate(wanted.items()):
        ranked = ranked_items(run.get(query, {}))
        found[row, : len(ranked)] = [product in products for product in ranked]
    total = np.array([len(products) for products in wanted.values()])
    first = np.where(found.any(axis=1), found.argmax(axis=1) + 1.0, np.inf)
    scores = {"MRR": metrics.reciprocal_rank(first), "mAP": metrics.average_precision(found, total, depth)}
    for k in ks:
        scores |= {f"R@{k}": metrics.recall(found, total, k), f"hit@{k}": metrics.hit(first, k)}
        scores |= {f"mAP@{k}": metrics.average_precision(found, total, k), f"nDCG@{k}": metrics.ndcg(found, total, k)}
    return {name: float(values.mean()) for name, values in scores.items()}


def ranked_items(scores: Mapping[str, float]) -> list[str]:
    """Products of one query, best first; equal scores by id from the last, as trec_eval has them."""
    return sorted(sorted(scores, reverse=True), key=lambda product: -scores[product])


def _lines(path: Path) -> Iterable[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\n")
    except FileNotFoundError as error:
        raise BadInput(f"no file at {path}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8: {error}") from error
