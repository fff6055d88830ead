"""Protocol 4: entities found in captions, as `benchmarks.entities` measures them. Nothing is trained: each way to find
words stands in the place of an encoder, and there are no seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.entities import captions_of, measure, tenth
from benchmarks.figures import machine
from kg.errors import BadInput

__all__ = ["NAMES", "entities"]

NAMES = {"mined": "mined", "mined_unseen": "mined_unseen", "words": "jieba", "ngrams": "ngrams"}  # → in the table


def entities(data: Path, test_data: Path | None, encoders: Sequence[str], quick: bool) -> dict[str, Any]:
    """The document of protocol 4: results `entity/label/precision`, `entity/brand/recall`, …

    Args:
        data: folder with `items.csv`.
        test_data: folder of the same layout, all of which is test.
        encoders: names of ways to find words; none of them: all.
        quick: a tenth of the captions.

    Raises:
        BadInput: no captions, or nothing in them to compare with; some names are known and others are not.
    """
    wanted = [name for name in encoders if name in NAMES.values()]
    if wanted and len(wanted) < len(encoders):
        unknown = sorted({*encoders} - {*wanted})
        raise BadInput(f"protocol 4 has {sorted(NAMES.values())}, not {', '.join(unknown)}")
    captions = captions_of(data)
    tested = captions_of(test_data) if test_data else None
    if quick:
        captions, tested = tenth(captions), tested and tenth(tested)
    figures, costs = measure(captions, tested)
    budget = {
        "protocol": 4,
        "quick": quick,
        "text": "title",
        "structured entities": "not used: the labels or fields are what is looked for",
        "split": "by hash of the labels or instance_id; test: " + (f"all of {test_data}" if test_data else "below 20"),
        **{cost.name: round(cost.value, 1) for cost in costs},
        "configs": {},
        "trainings": [],
        "machine": machine(),
    }
    results = [
        {"encoder": NAMES[name], "seed": 0, "metric": f"entity/{metric}", "value": value}
        for name, values in figures.items()
        if name in NAMES and (not wanted or NAMES[name] in wanted)
        for metric, value in values.items()
    ]
    return {"budget": budget, "results": results, "chosen": {}, "validation": []}
