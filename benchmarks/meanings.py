"""What entities are near to: before training, by their words, and after it, by the vectors that the learner gave them.

    python -m benchmarks.meanings [--encoder DIR] [--type brand] [--of 8] [--neighbours 4] [--quick] [--out FILE]

`--encoder` is a checkpoint of ei_clip; default: ei_clip_tiny, trained on the rendered sample catalogue. Before: the
encoder's frozen text model's reading of the entity's own text, all entities centred. After: what the entity adds to a
text's vector; where it is a token beside the caption's, that token. Neighbours are of the same type. Of each type the
most confounding entities are shown, most first, and how many of the neighbours stay.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.confusions import SAMPLE, sample
from benchmarks.figures import Figure, document, print_table, write_figures, write_json
from encoders import load
from encoders.dual import DualEncoder
from encoders.entity_selection import pooled_text
from encoders.lexicon import Lexicon
from encoders.training import train
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
    """Of every chosen entity whose type has more than `neighbours` others, the most confounding of each type first.

    Raises:
        BadInput: none is chosen.
    """
    rows, learner = lexicon.chosen, encoder.model.learner  # type: ignore[attr-defined]
    if learner is None:
        raise BadInput(f"{encoder.folder} chose none of its {len(lexicon.rows)} entities: none has a vector of its own",
                       hint="train one whose learner.score is not none")  # fmt: skip
    with torch.inference_mode():
        made = learner.meanings()[1]
        learned = (made if learner.tokens else learner.exit(made))[: len(rows)].float().cpu().numpy()
    read = pooled_text(encoder.text_backbone, [row.text for row in rows], None)
    read /= np.maximum(np.linalg.norm(read, axis=1, keepdims=True), 1e-12)
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
        with tempfile.TemporaryDirectory() as work:
            encoder = load(options.encoder or _trained(Path(work), options.quick))
            lexicon = getattr(encoder, "lexicon", None)
            if lexicon is None:
                raise BadInput(f"{options.encoder} has no entities of its own", hint="skugraph train ei_clip makes one")
            found = meanings(encoder, lexicon, neighbours=options.neighbours)  # type: ignore[arg-type]
    except SkugraphError as error:
        print(error)
        return 2
    figures = []
    for kind in dict.fromkeys(one.type for one in found):
        of_type = [one for one in found if one.type == kind]
        same = float(np.mean([len(set(one.before) & set(one.after)) / len(one.before) for one in of_type]))
        figures.append(Figure(f"{kind}: neighbours that stay", same, "share of them"))
        if not options.type or kind == options.type:
            print(f"\n{kind}: {len(of_type)} entities\n")
            print_table(("entity", "mismatch", "before", "after"), [_row(one) for one in of_type[: options.of]])
    print()
    write_figures(figures, None)
    if options.out:
        write_json(options.out, {**document(figures), "entities": [asdict(one) for one in found]})
    return 0


def _trained(work: Path, quick: bool) -> Path:
    items, _ = sample(work / "sample", 80 if quick else SAMPLE)
    train("ei_clip", items, work / "ei", config="ei_clip_tiny+all_entities", epochs=2 if quick else None)
    return work / "ei"


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
    parser.add_argument("--encoder", type=Path, help="checkpoint of ei_clip; default: one is trained")
    parser.add_argument("--type", default="", help="show entities of this type only")
    parser.add_argument("--of", type=int, default=8, help="entities shown of each type")
    parser.add_argument("--neighbours", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="a small sample, two epochs: does it run at all?")
    parser.add_argument("--out", type=Path, help="JSON of all of them")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
