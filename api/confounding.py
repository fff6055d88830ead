"""From the checkpoint of an encoder to the graph: which entities its training found confounding."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from encoders.confounding import Confounding, read_confounding
from kg import confounding
from kg.confounding import Finding
from kg.errors import BadInput, NotFound
from kg.stores import Stores

__all__ = ["Written", "write_findings"]


@dataclass(frozen=True)
class Written:
    """What came of it.

    Attributes:
        written: entities of the graph that have a finding now.
        unknown: findings of entities that the graph does not have.
    """

    written: int
    unknown: int


def write_findings(stores: Stores, folder: Path) -> Written:
    """Write the findings of a checkpoint to the graph, in place of those of another; again, nothing changes.

    Raises:
        NotFound: no checkpoint, or of an encoder without such findings.
        BadInput: a file of it is broken.
    """
    found = read_confounding(folder)
    by, score = _identity(folder)
    findings = [Finding(one.key, _chosen_by(one, score), one.mismatch, one.drop_in_loss, one.chosen) for one in found]
    written = confounding.write(stores.graph, findings, by=by)
    return Written(written, len(findings) - written)


def _chosen_by(one: Confounding, score: str) -> float | None:
    """Where entities were chosen by no score, as a control, the mismatch stands for it."""
    return one.drop_in_loss if score == "drop_in_loss" else one.mismatch


def _identity(folder: Path) -> tuple[str, str]:
    """Fingerprint, and the score that chose. Opening the checkpoint would load torch."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return (folder / "fingerprint").read_text(encoding="utf-8").strip(), config["learner"]["score"]
    except OSError as error:
        raise NotFound(f"{folder} is no whole encoder: {error}", hint="train it again") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder}/config.json does not say by which score entities were chosen ({error})") from error
