"""The metrics of Product1M (Zhan et al., ICCV 2021), in both definitions that are published.

A query shows several products: its labels, a label once for each unit shown, so a label may repeat. The gallery holds
single products of one label each. With Y the query's labels (repeats kept), C = set(Y), G_c the gallery items of label
c, u_c how often c stands in Y, H_i the hits up to rank i of the list, and N places:

    p1m_script      the data set's own evaluation script
        m      = Σ_{c in C} u_c |G_c|, so the items of a repeated label count twice; k = min(N, m, length of the list)
        Prec@N = H_k / k
        AP@N   = Σ_{i ≤ k} rel_i H_i / i / H_k; 0 without a hit
        AR@N   = mean over C of min(found_c, e_c) / e_c, e_c = min(u_c ⌊N / |Y|⌋, |G_c|)
    p1m_normalised  as other groups compute it
        m      = Σ_{c in C} |G_c|
        Prec@N = H_N / N
        AP@N   = Σ_{i ≤ N} rel_i H_i / i / min(m, N)
        AR@N   = the same mean with e_c = min(round(u_c N / |Y|), |G_c|)

The script's AP divides by the hits it found: a list with one hit, at its head, scores 1. Its AR counts the hits of a
class up to N, also where k is smaller; `round` takes halves to the even number.

Three things differ from the script, all of them where it prints an id and leaves a query with nothing, or with part:

- A class for which N places leave no room (e_c = 0: 12 labels at N = 10) has one place: e_c is at least 1. `crowded`
  counts these queries. With more classes than places AR cannot reach 1.
- A label without a gallery item, an item or a query that is not known, a list that is empty or repeats an item: errors.
- The recalls of the classes are summed. Until April 2022 the script kept only the last one, so mAR that was published
  before may be too low; it is not to be compared with these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kg.errors import BadInput

__all__ = ["NS", "crowded", "product1m", "qrels_of"]

NS = (10, 50, 100)
Lists = Mapping[str, Sequence[str]]  # query → items, best first, or labels


def product1m(ranked: Lists, labels: Lists, gallery: Mapping[str, str], *, ns: Sequence[int] = NS) -> dict[str, float]:
    """Means over all queries, per cent: `p1m_script/mAP@10`, `p1m_normalised/mAR@50` and so on.

    Args:
        ranked: query → gallery items, best first; shorter than N is allowed.
        labels: query → the labels of what it shows, a label once for each unit.
        gallery: item → its one label.
        ns: places.

    Raises:
        BadInput: there is no query; a query of one mapping is missing in the other; it has no label, or one that no
            gallery item has; its list is empty, names an item twice or one that is not in the gallery; an N below 1.
    """
    if not labels or min(ns, default=0) < 1:
        raise BadInput(f"{len(labels)} queries, places {tuple(ns)}: at least one query, and places from 1")
    if strange := sorted(labels.keys() ^ ranked.keys()):
        where = "labels but no list" if strange[0] in labels else "a list but no labels"
        raise BadInput(f"query {strange[0]!r} has {where} ({len(strange)} queries like it): both are needed")
    sizes = Counter(gallery.values())
    totals: Counter[str] = Counter()
    for query, wanted in labels.items():
        found = _classes(query, ranked[query], gallery)
        units = Counter(wanted)
        lacking = [label for label in units if not sizes[label]]
        if lacking or not units:
            raise BadInput(
                f"query {query!r}: label {lacking[0]!r} has no gallery item"
                if lacking
                else f"query {query!r} has no label"
            )
        for n in dict.fromkeys(ns):
            totals.update(_one(found, units, sizes, n))
    return {name: 100 * value / len(labels) for name, value in totals.items()}


def crowded(labels: Lists, n: int) -> dict[str, int]:
    """How many queries have a class that n places leave no room for, by either definition."""
    script = normalised = 0
    for wanted in labels.values():
        script += n < len(wanted)
        normalised += any(round(units * n / len(wanted)) == 0 for units in Counter(wanted).values())
    return {"p1m_script": script, "p1m_normalised": normalised}


def qrels_of(labels: Lists, gallery: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Judgements as `encoders.evaluation.trec` has them: every gallery item of a query's labels is relevant."""
    items: dict[str, list[str]] = {}
    for item, label in gallery.items():
        items.setdefault(label, []).append(item)
    return {
        query: {item: 1 for label in dict.fromkeys(wanted) for item in items.get(label, ())}
        for query, wanted in labels.items()
    }


def _classes(query: str, items: Sequence[str], gallery: Mapping[str, str]) -> list[str]:
    """The label of each item of one list."""
    if not items:
        raise BadInput(f"query {query!r} has an empty list: it cannot be told from one that was lost")
    if len(set(items)) != len(items):
        twice = next(item for item, count in Counter(items).items() if count > 1)
        raise BadInput(f"query {query!r} has item {twice!r} twice in its list: each item has one place")
    try:
        return [gallery[item] for item in items]
    except KeyError as error:
        raise BadInput(f"query {query!r} has item {error} in its list, which is not in the gallery") from error


def _one(found: Sequence[str], units: Counter[str], sizes: Counter[str], n: int) -> dict[str, float]:
    """All six figures of one query at n places, 0 … 1."""
    relevant = np.array([label in units for label in found[:n]], bool)
    hits = np.cumsum(relevant)
    gains = relevant * hits / np.arange(1, len(relevant) + 1)
    there = Counter(label for label in found[:n] if label in units)
    shown = units.total()
    k = min(n, sum(count * sizes[label] for label, count in units.items()), len(relevant))
    room = min(n, sum(sizes[label] for label in units))
    quotas = {label: count * (n // shown) for label, count in units.items()}
    shares = {label: round(count * n / shown) for label, count in units.items()}
    return {
        f"p1m_script/Prec@{n}": hits[k - 1] / k,
        f"p1m_script/mAP@{n}": _sum(gains[:k]) / max(hits[k - 1], 1),
        f"p1m_script/mAR@{n}": _recall(there, quotas, sizes),
        f"p1m_normalised/Prec@{n}": hits[-1] / n,
        f"p1m_normalised/mAP@{n}": _sum(gains) / room,
        f"p1m_normalised/mAR@{n}": _recall(there, shares, sizes),
    }


def _recall(there: Counter[str], places: Mapping[str, int], sizes: Counter[str]) -> float:
    parts = []
    for label, room in places.items():
        expected = min(max(room, 1), sizes[label])
        parts.append(min(there[label], expected) / expected)
    return sum(parts) / len(parts)


def _sum(values: NDArray[np.floating]) -> float:
    return float(values.sum())
