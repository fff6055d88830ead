"""Calibrating found offers: pairs of listings that state what they are say how far the vectors can be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from api.calibrating import Pairs, Threshold, choose
from api.lists import EMBED, NO_GENERATION
from api.matching import BATCH, near, ways_of
from encoders.data import split_of
from kg.errors import BadInput, NotFound
from kg.graph.cypher.offers import CALIBRATE, CALIBRATIONS, IDENTITIES
from kg.graph.driver import Graph
from kg.records import content_hash
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.generations import Generation

__all__ = ["Calibration", "calibrate", "calibrations"]

LIMIT = 2000  # listings asked for, unless told


@dataclass(frozen=True)
class Calibration:
    """From which score on the vectors of one generation say "the same product".

    Attributes:
        generation: whose vectors; a score means nothing to those of another.
        way: how two listings are compared (`api.matching.WAYS`).
        score: the threshold.
        goal: precision that was asked for.
        precision: share of right pairs on validation at this threshold, `bound` what it is at least at 95 %.
        recall: share of the right pairs of validation that reach it.
        pairs: that reach it, `right` of them are; `identities`: products among them.
        at: when, ISO 8601.
    """

    generation: str
    way: str
    score: float
    goal: float
    precision: float
    bound: float
    recall: float
    pairs: int
    right: int
    identities: int
    at: str


def calibrations(graph: Graph) -> dict[str, Calibration]:
    """Those there are, by generation."""
    return {row["generation"]: Calibration(**row) for row in graph.read(CALIBRATIONS)}


def calibrate(
    stores: Stores,
    goal: float,
    *,
    limit: int = LIMIT,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Calibration, dict[str, str]]:
    """Choose the threshold of the live generation, and note it there.

    Asked for are listings of the validation split (`encoders.data.split_of` of their identity); a pair is one of them
    with a listing near it that states an identity too. What belongs to the test split takes no part. Of the ways to
    compare, the one that finds most of the right pairs at the stated precision is taken.

    Args:
        stores: both stores.
        goal: precision that the lower bound at 95 % has to reach.
        limit: listings asked for, at most; whole products are left out, by hash.
        progress: is told how many listings were asked for, and of how many.

    Returns:
        What was noted, and for each way that did not do what it lacked.

    Raises:
        NotFound: no generation is live.
        BadInput: `goal` or `limit` out of range, too few products with several listings, or no score reaches the goal.
    """
    if limit < 1:
        raise BadInput(f"limit = {limit}: at least one listing is asked for", field="limit")
    generation = generations.live(stores)
    if generation is None:
        raise NotFound(NO_GENERATION, hint=EMBED)
    stated = {row["id"]: row["identity"] for row in stores.graph.read(IDENTITIES)}
    tables = _pairs(stores, generation, stated, limit, progress)
    chosen: dict[str, Threshold] = {}
    refused: dict[str, str] = {}
    for way, pairs in tables.items():
        try:
            chosen[way] = choose(pairs, goal)
        except BadInput as error:
            refused[way], last = error.message, error
    if not chosen:
        first = next(iter(refused))
        raise BadInput(refused[first], hint=last.hint, generation=generation.id, ways=refused)
    way = max(chosen, key=lambda way: chosen[way].recall)
    found = Calibration(
        generation=generation.id,
        way=way,
        goal=goal,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        **asdict(chosen[way]),
    )
    values = {f"offers_{name}": value for name, value in asdict(found).items() if name != "generation"}
    stores.graph.write(CALIBRATE, id=generation.id, values=values)
    return found, refused


def _pairs(
    stores: Stores,
    generation: Generation,
    stated: Mapping[str, str],
    limit: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Pairs]:
    """Way → the pairs that a search by it comes upon."""
    sizes = Counter(identity for identity in stated.values() if split_of(identity) == "val")
    kept: set[str] = set()
    room = limit
    for identity in sorted(sizes, key=content_hash):  # products with one listing too: what is near them is wrong
        if sizes[identity] <= room:
            kept.add(identity)
            room -= sizes[identity]
    asked = sorted(id for id, identity in stated.items() if identity in kept)
    numbers = {identity: number for number, identity in enumerate(sorted(kept))}
    there = sum(sizes[identity] * (sizes[identity] - 1) // 2 for identity in kept)
    ways = ways_of(generation)
    rows: dict[str, dict[tuple[str, str], tuple[float, bool, int]]] = {way: {} for way in ways}
    for start in range(0, len(asked), BATCH):
        for way, lists in near(stores, generation, asked[start : start + BATCH], ways).items():
            for id, scores in lists.items():
                for other, score in scores.items():
                    if other in stated and split_of(stated[other]) != "test":
                        pair = (min(id, other), max(id, other))
                        rows[way].setdefault(pair, (score, stated[id] == stated[other], numbers[stated[id]]))
        if progress:
            progress(min(start + BATCH, len(asked)), len(asked))
    return {way: _table([*found.values()], there) for way, found in rows.items()}


def _table(rows: list[Any], there: int) -> Pairs:
    scores, right, groups = zip(*rows, strict=True) if rows else ((), (), ())
    return Pairs(np.array(scores, np.float64), np.array(right, bool), np.array(groups, np.int64), there)
