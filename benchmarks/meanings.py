"""What entities are near to: before training, by their words, and after it, by the vectors that the learner gave them.

    python -m benchmarks.meanings --encoder DIR [--type brand] [--of 8] [--neighbours 4] [--out FILE]

`--encoder` is a checkpoint of ei_clip. Before: the frozen text model's reading of the entity's own text, all entities
centred. After: what the entity adds to a text's vector. Neighbours are of the same type. Of each type the most
confounding entities are shown, most first, and how much of the neighbourhoods is the same before and after.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.figures import print_table, write_json
from encoders import load, text_vectors
from encoders.dual import DualEncoder
from encoders.lexicon import Lexicon
from kg.errors import BadInput, SkugraphError

__all__ = ["Meaning", "main", "meanings"]


@dataclass(frozen=True)
class Meaning:
    """One entity, its score (None where it has none), and the texts of its neighbours, nearest first."""

    type: str
    text: str
    score: float | None
    before: list[str]
    after: list[str]


def meanings(encoder: DualEncoder, lexicon: Lexicon, *, neighbours: int) -> list[Meaning]:
    """Of every chosen entity whose type has more than `neighbours` others, the most confounding of each type first."""
    rows, learner = lexicon.chosen, encoder.model.learner  # type: ignore[attr-defined]
    with torch.inference_mode():
        learned = learner.exit(learner.meanings()[1])[: len(rows)].float().cpu().numpy()
    read = text_vectors([row.text for row in rows], device=encoder.device)
    found: list[Meaning] = []
    for kind in lexicon.types:
        own = [place for place, row in enumerate(rows) if row.type == kind]
        if len(own) <= neighbours:
            continue
        before, after = (_nearest(vectors[own], neighbours) for vectors in (read, learned))
        texts = [rows[place].text for place in own]
        of_type = [
            Meaning(kind, row.text, row.mismatch, [texts[j] for j in before[i]], [texts[j] for j in after[i]])
            for i, row in enumerate(rows[place] for place in own)
        ]
        found += sorted(of_type, key=lambda one: -(one.score if one.score is not None else -np.inf))
    return found


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        encoder = load(options.encoder)
        lexicon = getattr(encoder, "lexicon", None)
        if lexicon is None:
            raise BadInput(f"{options.encoder} has no entities of its own", hint="skugraph train ei_clip makes one")
        found = meanings(encoder, lexicon, neighbours=options.neighbours)  # type: ignore[arg-type]
    except SkugraphError as error:
        print(error)
        return 2
    kept: dict[str, Any] = {}
    for kind in dict.fromkeys(one.type for one in found):
        of_type = [one for one in found if one.type == kind]
        kept[kind] = float(np.mean([len(set(one.before) & set(one.after)) / len(one.before) for one in of_type]))
        print(f"\n{kind}: {len(of_type)} entities, {kept[kind]:.0%} of the neighbours are the same before and after\n")
        if not options.type or kind == options.type:
            print_table(("entity", "mismatch", "before", "after"), [_row(one) for one in of_type[: options.of]])
    if options.out:
        write_json(options.out, {"encoder": str(options.encoder), "kept": kept, "entities": [asdict(o) for o in found]})
    return 0


def _row(one: Meaning) -> tuple[str, ...]:
    score = "" if one.score is None else f"{one.score:.2f}"
    return one.text, score, ", ".join(one.before), ", ".join(one.after)


def _nearest(vectors: NDArray[np.float32], number: int) -> NDArray[np.int64]:
    """(N, number): rows of the nearest others by cosine, after the mean is taken away."""
    centred = vectors - vectors.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :number]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.meanings", description=__doc__.partition("\n")[0])
    parser.add_argument("--encoder", type=Path, required=True, help="checkpoint of ei_clip")
    parser.add_argument("--type", default="", help="show entities of this type only")
    parser.add_argument("--of", type=int, default=8, help="entities shown of each type")
    parser.add_argument("--neighbours", type=int, default=4)
    parser.add_argument("--out", type=Path, help="JSON of all of them")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
