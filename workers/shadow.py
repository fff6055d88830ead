"""What a generation finds, by its vectors alone, and how that compares with the live one.

Words are left out: the full-text index answers the same whatever the encoder, and would only hide what is measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from encoders.evaluation import trec
from encoders.evaluation.trec import Query
from encoders.protocol import Encoder
from kg.catalogue.pictures import decode
from kg.errors import BadInput, JobError
from kg.gates import Gates, Scope, load_gates, outcomes
from kg.graph.cypher.generations import GENERATION_EVALUATED, GENERATION_GROUPS
from kg.settings import Settings
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.client import MAX_K, VectorStore
from kg.vectors.generations import Generation
from workers.device import encoder_at
from workers.orders import Judged, Use

__all__ = ["encoder_of", "evaluate", "rank"]

BATCH = 32  # queries of one request
DEPTH = 100  # products of a list that is fused with others, at least
INSTANCES = 4  # asked for, for each product that is wanted; doubled where that does not do
SHOWN = 20  # shut gates kept on the generation; all of them are in the report

Run = dict[str, dict[str, float]]
Progress = Callable[[int], None]


def evaluate(stores: Stores, generation: str, judged: Judged, *, report: Path | None = None) -> dict[str, Any]:
    """Measure a generation against the live one on judged queries, and keep what was found on it.

    A query counts in every category and brand of the products that are relevant to it.

    Args:
        stores: both.
        generation: its id; it must be in the shadow.
        judged: with what. Where neither it nor the settings name gates, those count that it was judged by before: an
            evaluation without gates does not open one that was shut.
        report: file for all of it: every group, every gate. The generation keeps the means and the shut gates.

    Returns:
        What the generation keeps: `at`, `against`, `queries`, `use`, `k`, `metrics` (`live`, `shadow`), `gates`,
        `gates_digest`, `outcomes` (how many), `failed_count`, `failed` (the first of them), `passed` (None without
        gates; not where no group was large enough for any).

    Raises:
        BadInput: queries, judgements or gates that cannot be read, or do not fit each other.
        JobError: it is not in the shadow, or nothing is live.
        EncoderMismatch: a checkpoint is not the one that its generation was made with.
    """
    live, shadow = generations.live(stores), generations.get(stores, generation)
    if live is None or shadow.state != "shadow":
        raise JobError(
            f"generation {generation} is {shadow.state}: only one in the shadow is measured against the live"
        )
    path = Path(judged.gates) if judged.gates else stores.settings.generation_gates
    gates = load_gates(path) if path else _gates_before(shadow)
    queries, qrels = _read(judged)
    runs = {
        name: rank(stores, one, encoder_of(stores, one), queries, use=judged.use, k=judged.k)
        for name, one in (("live", live), ("shadow", shadow))
    }
    groups = _groups(stores, qrels, runs)
    results = outcomes(gates, groups) if gates else []
    failed = [one for one in results if not one["passed"]]
    found = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "against": live.id,
        "queries": groups["overall"][""]["queries"],
        "use": judged.use,
        "k": judged.k,
        "metrics": {name: groups["overall"][""][name] for name in ("live", "shadow")},
        "gates": gates.model_dump(mode="json")["gates"] if gates else [],
        "gates_digest": gates.digest if gates else "",
        "outcomes": len(results),
        "failed_count": len(failed),
        "failed": failed[:SHOWN],
        "passed": bool(results) and not failed if gates else None,
    }
    if report is not None:
        whole = {"generation": generation, **found, "groups": groups, "gates": results}
        report.write_text(json.dumps(whole, ensure_ascii=False, indent=1), encoding="utf-8")
    text = json.dumps(found, ensure_ascii=False)
    stores.graph.write(GENERATION_EVALUATED, id=generation, evaluation=text)
    return found


def encoder_of(stores: Stores, generation: Generation) -> Encoder:
    """The encoder that made the vectors of this generation.

    Raises:
        JobError: its checkpoint is gone.
        EncoderMismatch: the checkpoint is another one now; the message names both.
    """
    folder = Path(generation.encoder_path)
    if not folder.is_dir():
        raise JobError(f"the checkpoint {folder} of generation {generation.id} is gone", hint="put it back")
    encoder = encoder_at(folder, stores.settings)
    generations.check_encoder(generation, encoder.name, encoder.fingerprint)
    return encoder


def rank(
    stores: Stores,
    generation: Generation,
    encoder: Encoder,
    queries: Sequence[Query],
    *,
    use: Use = "both",
    k: int = 100,
    progress: Progress | None = None,
) -> Run:
    """Query → product → score: the k best of each, lists of several parts and kinds fused by reciprocal rank, as a
    search without words does it.

    Raises:
        BadInput: a query lacks the part that it is to be asked with, or its picture cannot be read.
        EncoderMismatch: the encoder is not that of the generation.
    """
    generations.check_encoder(generation, encoder.name, encoder.fingerprint)
    constant, depth, run = stores.settings.rrf_constant, max(DEPTH, 2 * k), Run()
    for start in range(0, len(queries), BATCH):
        batch = queries[start : start + BATCH]
        fused: Run = {query.id: {} for query in batch}
        for names, collection, matrix in _questions(stores, generation, encoder, batch, use):
            for name, products in zip(names, _nearest(stores.vectors, collection, matrix, depth), strict=True):
                for place, product in enumerate(products, start=1):
                    fused[name][product] = fused[name].get(product, 0.0) + 1 / (constant + place)
        for name, scores in fused.items():
            run[name] = dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k])
        if progress is not None:
            progress(start + len(batch))
    return run


def _questions(
    stores: Stores, generation: Generation, encoder: Encoder, batch: Sequence[Query], use: Use
) -> Iterator[tuple[list[str], str, NDArray[np.float32]]]:
    """Ids of queries, a collection and their vectors for it, for each part of the questions and kind that suits."""
    collections = generation.collections(stores.vectors.prefix)
    texts = {query.id: query.text for query in batch if query.text and use != "image"}
    pictures = {query.id: _picture(query, stores.settings) for query in batch if query.image and use != "text"}
    for query in batch:
        if query.id not in texts and query.id not in pictures:
            raise BadInput(f"query {query.id!r} has no {use}")
    pairs = [name for name in pictures if name in texts]
    parts: list[tuple[generations.Part, list[str], Callable[[], NDArray[np.float32]]]] = [
        ("picture", list(pictures), lambda: encoder.encode_images(list(pictures.values()))),
        ("text", list(texts), lambda: encoder.encode_texts(list(texts.values()))),
        ("pair", pairs, lambda: encoder.encode_items([pictures[n] for n in pairs], [texts[n] for n in pairs])),
    ]
    for part, names, encode in parts:
        kinds = generation.suited(part)
        if names and kinds:
            matrix = encode()
            yield from ((names, collections[kind], matrix) for kind in kinds)


def _picture(query: Query, settings: Settings) -> Image:
    assert query.image is not None
    try:
        data = query.image.read_bytes()
    except OSError as error:
        raise BadInput(f"query {query.id!r}: picture {query.image}: {error.strerror}") from error
    return decode(data, name=str(query.image), max_pixels=int(settings.picture_max_megapixels * 1e6))


def _nearest(vectors: VectorStore, collection: str, matrix: NDArray[np.float32], k: int) -> list[list[str]]:
    """The k nearest products of each row, best first, each by its nearest instance."""
    wanted = min(INSTANCES * k, MAX_K)
    while True:
        found = vectors.search(collection, matrix, wanted)
        ranked = [list(dict.fromkeys(hit.product_id for hit in _ordered(hits))) for hits in found]
        short = any(len(products) < k and len(hits) == wanted for products, hits in zip(ranked, found, strict=True))
        if not short or wanted == MAX_K:
            return [products[:k] for products in ranked]
        wanted = min(2 * wanted, MAX_K)


def _ordered(hits: Sequence[Any]) -> list[Any]:
    return sorted(hits, key=lambda hit: (-round(hit.score, 6), hit.product_id))


def _gates_before(shadow: Generation) -> Gates | None:
    before = json.loads(shadow.evaluation) if shadow.evaluation else {}
    return Gates.model_validate({"gates": before["gates"]}) if before.get("gates") else None


def _read(judged: Judged) -> tuple[list[Query], trec.Qrels]:
    """Queries with a judgement, and the judgements of queries."""
    qrels = trec.read_qrels(Path(judged.qrels))
    queries = [query for query in trec.read_queries(Path(judged.queries)) if query.id in qrels]
    asked = {query.id for query in queries}
    return queries, {name: grades for name, grades in qrels.items() if name in asked}


def _groups(
    stores: Stores, qrels: Mapping[str, Mapping[str, int]], runs: Mapping[str, Run]
) -> dict[Scope, dict[str, dict[str, Any]]]:
    """Scope → group → how many queries, and the metrics of both generations on them."""
    relevant = {
        name: [product for product, grade in grades.items() if grade > 0]
        for name, grades in qrels.items()
        if any(grade > 0 for grade in grades.values())
    }
    keys = _keys(stores, sorted({product for products in relevant.values() for product in products}))
    members: dict[Scope, dict[str, set[str]]] = {"overall": {"": set(relevant)}, "category": {}, "brand": {}}
    for name, products in relevant.items():
        for product in products:
            for key in keys.get(product, ()):
                scope: Scope = "brand" if key.startswith("brand:") else "category"
                members[scope].setdefault(key, set()).add(name)
    return {
        scope: {key: _figures(qrels, runs, names) for key, names in groups.items()} for scope, groups in members.items()
    }


def _figures(qrels: Mapping[str, Mapping[str, int]], runs: Mapping[str, Run], names: set[str]) -> dict[str, Any]:
    own = {name: qrels[name] for name in names}
    return {"queries": len(names)} | {
        which: trec.judge(own, {name: run.get(name, {}) for name in names}) for which, run in runs.items()
    }


def _keys(stores: Stores, products: Sequence[str]) -> dict[str, list[str]]:
    """Product → its brand, its category and every one above."""
    rows = stores.settings.batch_rows
    found = {}
    for start in range(0, len(products), rows):
        for row in stores.graph.read(GENERATION_GROUPS, ids=list(products[start : start + rows])):
            found[row["id"]] = sorted({key for key in (*row["brands"], *row["categories"]) if key})
    return found
