"""How much the words of an entity mislead an encoder, kept at the entities of the graph.

One encoder's findings at a time: its training scores the entities and chooses some (docs/ei_clip.md), and here they
become properties of `Entity`: `confounding` (the score that chose), `mismatch` and `drop_in_loss` (both scores),
`confounding_chosen`, and `confounding_by`, the fingerprint of the encoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from kg.errors import BadInput
from kg.graph.cypher import confounding as cypher
from kg.graph.driver import Graph

__all__ = ["Finding", "ScoredEntity", "extremes", "scored", "write"]

CLEARED = 1000  # entities of one transaction


@dataclass(frozen=True)
class Finding:
    """What a training found of one entity; a score is None where it has none.

    Attributes:
        key: of the entity.
        confounding: the score by which entities were chosen; the higher, the more its words should mislead.
        mismatch: of what its words mean with what its products look like.
        drop_in_loss: how much better captions fit their pictures without its words.
        chosen: the encoder gives it a vector of its own, beside its words or (with masking) in their place.
    """

    key: str
    confounding: float | None
    mismatch: float | None
    drop_in_loss: float | None
    chosen: bool


@dataclass(frozen=True)
class ScoredEntity(Finding):
    """The same, as it stands at an entity of the graph.

    Attributes:
        df: products that have it.
        by: fingerprint of the encoder.
    """

    type: str
    text: str
    df: int
    by: str


def write(graph: Graph, findings: Iterable[Finding], *, by: str) -> int:
    """Write what the encoder of fingerprint `by` found, and take off what others did; returns how many entities of the
    graph have a finding now.

    Stopped anywhere and called again, the same comes out. Entities that are not in the graph are left out.

    Raises:
        BadInput: a score that is not finite, or a key that comes twice.
    """
    rows = {}
    for finding in findings:
        scores = (finding.confounding, finding.mismatch, finding.drop_in_loss)
        if not all(score is None or math.isfinite(score) for score in scores):
            raise BadInput(f"entity {finding.key!r} has the scores {scores}: they must be finite")
        if finding.key in rows:
            raise BadInput(f"entity {finding.key!r} comes twice among the findings")
        rows[finding.key] = asdict(finding)
    graph.write_rows(cypher.CONFOUNDING_PUT, rows.values(), key="key", by=by)
    while graph.write(cypher.CONFOUNDING_DROP, by=by, limit=CLEARED)[0]["gone"]:
        pass
    return int(graph.read(cypher.CONFOUNDING_COUNT)[0]["entities"])


def scored(graph: Graph) -> list[ScoredEntity]:
    """Entities that have a finding, the most confounding first; those without that score last."""
    found = [ScoredEntity(**row) for row in graph.stream(cypher.CONFOUNDING)]
    return sorted(found, key=lambda one: (-_score(one), one.key))


def extremes(entities: Iterable[ScoredEntity], k: int) -> dict[str, tuple[list[ScoredEntity], list[ScoredEntity]]]:
    """Type → its `k` most and its `k` least confounding entities, the most extreme first; no entity is in both.

    Args:
        entities: as `scored` gives them; those without a score do not count.
        k: of each, at most.
    """
    types: dict[str, list[ScoredEntity]] = {}
    for one in entities:
        if one.confounding is not None:
            types.setdefault(one.type, []).append(one)
    return {name: (own[:k], own[max(k, len(own) - k) :][::-1]) for name, own in sorted(types.items())}


def _score(one: ScoredEntity) -> float:
    return -math.inf if one.confounding is None else one.confounding
