"""The ranked lists of the instances of one picture become one list. Numpy alone: the benchmarks use it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kg.errors import BadInput

__all__ = ["METHODS", "MergeMethod", "Merged", "merge"]

MergeMethod = Literal["round_robin", "max_score", "mean_top"]
METHODS: tuple[MergeMethod, ...] = get_args(MergeMethod)
Id = TypeVar("Id", bound=str | int)


@dataclass(frozen=True, slots=True)
class Merged(Generic[Id]):
    """One entry of the merged list.

    Attributes:
        score: by which it stands here; under `round_robin` what its list gave it.
        source: index of the list that won it: whose turn it was, or that scores it highest (the first of equals).
    """

    id: Id
    score: float
    source: int


def merge(
    lists: Sequence[tuple[Sequence[Id], ArrayLike]], method: MergeMethod, k: int, *, top: int = 5
) -> list[Merged[Id]]:
    """The k best of several lists, each entry once.

    - `round_robin`: the lists take turns, each gives its best that is not taken yet. Scores of different lists need
      not be comparable.
    - `max_score`: by the largest score in any list.
    - `mean_top`: by the mean of its `top` largest scores over the lists. A list that lacks an entry counts as its last
      score, which is the most that the entry can have there; so deep lists are best.

    Equal scores go by id.

    Args:
        lists: (ids, scores) of each instance, best first, no id twice in one list; empty ones are fine.
        method: how.
        k: entries wanted; fewer come where there are no more.
        top: how many lists `mean_top` looks at, at most all.

    Raises:
        BadInput: an unknown method, `k` or `top` below 1, or ids and scores of unequal length.
    """
    if method not in METHODS:
        raise BadInput(f"merge = {method!r}: there are {', '.join(METHODS)}", field="merge")
    if k < 1 or top < 1:
        raise BadInput(f"k = {k}, top = {top}: both are 1 or more")
    scored = [(list(ids), np.asarray(scores, np.float64)) for ids, scores in lists]
    for ids, scores in scored:
        if scores.shape != (len(ids),):
            raise BadInput(f"a list of {len(ids)} ids has scores of shape {scores.shape}: one score for each id")
    if method == "round_robin":
        return _in_turn(scored, k)
    filled = [(at, ids, scores) for at, (ids, scores) in enumerate(scored) if ids]
    return _by_score(filled, None if method == "max_score" else top, k) if filled else []


def _in_turn(lists: Sequence[tuple[list[Id], NDArray[np.float64]]], k: int) -> list[Merged[Id]]:
    found: dict[Id, Merged[Id]] = {}
    waiting = [(at, iter(zip(ids, scores.tolist(), strict=True))) for at, (ids, scores) in enumerate(lists)]
    while waiting:
        left = []
        for at, entries in waiting:
            entry = next((entry for entry in entries if entry[0] not in found), None)
            if entry is None:
                continue
            found[entry[0]] = Merged(entry[0], entry[1], at)
            if len(found) == k:
                return list(found.values())
            left.append((at, entries))
        waiting = left
    return list(found.values())


def _by_score(lists: Sequence[tuple[int, list[Id], NDArray[np.float64]]], top: int | None, k: int) -> list[Merged[Id]]:
    """By the mean of the `top` largest scores, or by the largest that a list says where `top` is None."""
    names: NDArray[Any]
    names, places = np.unique(np.concatenate([np.asarray(ids) for _, ids, _ in lists]), return_inverse=True)
    table = np.full((len(lists), len(names)), -np.inf)  # lists x entries
    start = 0
    for row, (_, ids, scores) in zip(table, lists, strict=True):
        row[places[start : start + len(ids)]] = scores
        start += len(ids)
    winners = table.argmax(axis=0)
    if top is None:
        totals = table.max(axis=0)
    else:
        floors = np.array([scores.min() for _, _, scores in lists])
        table = np.where(np.isinf(table), floors[:, None], table)
        worst = len(lists) - min(top, len(lists))
        totals = np.partition(table, worst, axis=0)[worst:].mean(axis=0) if worst else table.mean(axis=0)
    best = np.lexsort((names, -totals))[:k]
    return [Merged(names[at].item(), float(totals[at]), lists[winners[at]][0]) for at in best]
