"""How many of the true boxes a detector proposes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.regions.boxes import iou

__all__ = ["DEPTHS", "recall"]

DEPTHS = (1, 5, 10, 36)


def recall(
    proposed: Sequence[NDArray[np.float32]],
    true: Sequence[NDArray[np.float32]],
    *,
    depths: Sequence[int] = DEPTHS,
    least: float = 0.5,
) -> dict[str, float]:
    """`recall@k`: share of all true boxes that one of the first k proposals of their picture meets.

    One proposal may meet several boxes. A picture of n products cannot have more than 1 / n of its boxes met by one
    proposal that meets one, so `recall@1` is far below 1 for every detector.

    Args:
        proposed: (N_i, 4) of each picture, best first.
        true: (M_i, 4) of each picture.
        depths: the k.
        least: IoU with which a proposal meets a box.

    Returns:
        A value for each depth; NaN where there is no true box at all.
    """
    met: list[list[NDArray[np.bool_]]] = [[] for _ in depths]
    for boxes, wanted in zip(proposed, true, strict=True):
        overlaps = iou(wanted, boxes)
        for place, depth in enumerate(depths):
            met[place].append(np.asarray((overlaps[:, :depth] >= least).any(axis=1)))
    number = sum(len(wanted) for wanted in true)
    return {
        f"recall@{depth}": float(np.concatenate(of_depth).mean()) if number else float("nan")
        for depth, of_depth in zip(depths, met, strict=True)
    }
