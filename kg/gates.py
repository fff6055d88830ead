"""Gates: how much worse than the live generation another may be, overall, in a category, for a brand, to be promoted.

A file of gates is data: `{"gates": [{"scope": "overall", "metric": "nDCG@10", "loss": 0.01}, …]}`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kg.errors import BadInput, first_refusal

__all__ = ["Gate", "Gates", "Scope", "load_gates", "outcomes", "standing"]

Scope = Literal["overall", "category", "brand"]
Metric = Annotated[str, Field(pattern=r"^(MRR|mAP|(R|hit|mAP|nDCG)@(1|5|10|50))$")]
Groups = Mapping[str, Mapping[str, Any]]  # "" or an entity key → queries, and the figures of both by metric


class Gate(BaseModel):
    """One condition, of every group of its scope that has enough queries.

    Attributes:
        scope: overall; or every category, or every brand, of what the queries look for.
        metric: as `skugraph eval` names it.
        loss: how far the metric may lie below that of the live generation, 0 … 1.
        floor: smallest value, whatever the live generation has.
        queries: least queries of a group: fewer say too little.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scope: Scope = "overall"
    metric: Metric = "nDCG@10"
    loss: float = Field(0.0, ge=0, le=1)
    floor: float = Field(0.0, ge=0, le=1)
    queries: int = Field(1, ge=1)


class Gates(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    gates: tuple[Gate, ...] = Field(min_length=1)

    @property
    def digest(self) -> str:
        """An evaluation says which gates it was measured against."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_gates(path: Path) -> Gates:
    """The gates of a JSON file.

    Raises:
        BadInput: there is no such file, it is no JSON, or a gate breaks a rule.
    """
    try:
        return Gates.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadInput(f"gates {path}: {error.strerror}", hint="docs/generations.md shows such a file") from error
    except ValidationError as error:
        field, refused = first_refusal(error)
        raise BadInput(f"gates {path}: {refused}", hint="docs/generations.md shows such a file", field=field) from error
    except ValueError as error:
        raise BadInput(f"gates {path} is not JSON: {error}", hint="docs/generations.md shows such a file") from error


def outcomes(gates: Gates, groups: Mapping[Scope, Groups]) -> list[dict[str, Any]]:
    """What each gate says of each of its groups.

    Args:
        gates: the conditions.
        groups: scope → key of the group → `queries` (how many), and `live` and `shadow` (metric → value).

    Returns:
        scope, group, metric, queries, live, shadow, least (what was asked for), passed. A gate without a group that has
        enough queries is not passed, but for those of categories and brands: a catalogue may have none. (Empty where no
        gate has a group: then nothing was measured, and nothing is passed.)
    """
    found = []
    for gate in gates.gates:
        for key, group in sorted(groups.get(gate.scope, {}).items()):
            if group["queries"] < gate.queries and gate.scope != "overall":
                continue
            live, shadow = float(group["live"][gate.metric]), float(group["shadow"][gate.metric])
            least = max(live - gate.loss, gate.floor)
            found.append(
                {
                    "scope": gate.scope,
                    "group": key,
                    "metric": gate.metric,
                    "queries": group["queries"],
                    "live": live,
                    "shadow": shadow,
                    "least": least,
                    "passed": shadow >= least - 1e-9 and group["queries"] >= gate.queries,
                }
            )
    return found


def standing(gates: Gates | None, evaluation: Mapping[str, Any] | None, *, against: str) -> str:
    """What keeps a generation from being promoted, in words; empty where nothing does.

    Args:
        gates: that are set; None for none. An evaluation that was measured against gates of its own counts without.
        evaluation: the last one of the generation, as `workers.shadow` has written it.
        against: the generation that is live.
    """
    if gates is not None:
        if evaluation is None:
            return "gates are set, and it was never evaluated"
        if evaluation.get("gates_digest") != gates.digest:
            return "it was evaluated against other gates than those that are set"
    if evaluation is None or not evaluation.get("gates_digest"):
        return ""
    if evaluation.get("against") != against:
        return f"it was evaluated against generation {evaluation.get('against')}, and {against} is live"
    if evaluation["passed"]:
        return ""
    if not evaluation["failed"]:
        return "no category or brand has as many queries as its gates ask for: nothing was measured against them"
    one = evaluation["failed"][0]
    group = f" of {one['group']}" if one["group"] else ""
    others = evaluation["failed_count"] - 1
    more = f"; {others} more gates are shut" if others else ""
    return (
        f"{one['metric']}{group} is {one['shadow']:.4f} on {one['queries']} queries, {one['live']:.4f} on the live "
        f"generation, and must be {one['least']:.4f} at least{more}"
    )
