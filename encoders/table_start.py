"""Where the table of `ei_clip` starts: at random, at the frozen reading of each entity, or at an EGE-CMP's vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders import checkpoint
from encoders.backbones import TextBackbone
from encoders.entities import FILE, NONE, Vocabulary
from encoders.entity_selection import pooled_text
from encoders.features import FeatureCache
from encoders.lexicon import Lexicon
from kg.errors import BadInput
from kg.mining import fold

__all__ = ["start_folder", "table_start"]

NAMES = ("random", "text")


def start_folder(start: str, out: Path, seed: int) -> str:
    """A folder is meant beside the checkpoint that is being written; "{seed}" in it is the training's."""
    return start if start in NAMES else str(out.absolute().parent / start.replace("{seed}", str(seed)))


def table_start(
    lexicon: Lexicon, start: str, width: int, text: TextBackbone, *, cache: FeatureCache | None = None
) -> NDArray[np.float32] | None:
    """(P, width) of the learner's table, unit rows; rows of zeros, such as those of UNK, start at random.

    Args:
        lexicon: whose chosen entities have the first places.
        start: "random": None; "text": what the frozen text model makes of each; else a checkpoint of `ege_cmp`.
        width: of the table; what has another is reduced to its principal components.
        text: the frozen text model.
        cache: of its tokens.

    Raises:
        NotFound: there is no such checkpoint.
        BadInput: it remembers no entities.
    """
    if start == "random" or not lexicon.chosen:
        return None
    if start == "text":
        found = pooled_text(text, [row.text for row in lexicon.chosen], cache)
        there = np.ones(len(found), bool)
    else:
        found, there = _remembered(lexicon, Path(start))
    table = np.zeros((len(lexicon), width), np.float32)
    if found.shape[1] == width:
        table[: len(found)] = np.where(there[:, None], found, 0.0)
    elif there.any():
        rows = found - found[there].mean(axis=0)
        axes = np.linalg.svd(rows[there], full_matrices=False)[2][:width]
        table[: len(rows), : len(axes)] = np.where(there[:, None], rows @ axes.T, 0.0)
    return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)


def _remembered(lexicon: Lexicon, folder: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors of the chosen entities as an `ege_cmp` checkpoint remembers them, by how they are said; and which it
    has."""
    config, weights = checkpoint.read(folder)
    memory = weights.get("memory")
    if config["encoder"] != "ege_cmp" or memory is None or not len(memory) or not (folder / FILE).is_file():
        raise BadInput(f"learner.start: {folder} is of {config['encoder']!r}, and remembers no entities",
                       hint='"random", "text", or a checkpoint of ege_cmp')  # fmt: skip
    known = {fold(way): n for n, one in enumerate(Vocabulary.open(folder).entities) for way in one.spellings}
    numbers = np.array([known.get(fold(row.text), NONE) for row in lexicon.chosen], np.int64)
    return memory.float().numpy()[np.maximum(numbers, 0)], numbers != NONE
