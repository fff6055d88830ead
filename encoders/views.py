"""Views of an item beyond its own picture: windows of composed scenes, where it stands among other products.

Rooms and shelves show a product small, partly hidden, in other light, with neighbours. No picture of a catalogue does,
and no real scene is trained on: composed ones stand in for them, alike for every encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from encoders.data import TrainItem
from encoders.regions.boxes import clip
from encoders.regions.scenes import LABELS, scenes

__all__ = ["SceneView", "scene_views"]

SEED = 0  # of the scenes: they are data, the same for all seeds of a training
JITTER = -0.08, 0.15  # how far a side of a window lies outside the product's box, as a share of its size


@dataclass(frozen=True)
class SceneView:
    """One scene with the windows to look at.

    Attributes:
        image: of the scene.
        windows: (n, 4) float32 pixels, inside the scene.
        members: (n,) index of the item that each window shows.
    """

    image: Image
    windows: NDArray[np.float32]
    members: NDArray[np.int64]


def scene_views(items: Sequence[TrainItem], *, number: int, size: int) -> Iterator[SceneView]:
    """Scenes that show each item about `number` times; some fewer times, where no place was found, or no cut-out.

    Windows are the boxes of what was pasted, moved a little: a detector does not hit them exactly either.

    Args:
        items: whose pictures can be opened.
        number: of views of each.
        size: side of a scene in pixels.

    Raises:
        BadInput: fewer than two pictures show a product that can be cut out.
    """
    rng = np.random.default_rng([SEED, 3])
    shown = sum(labels * count for labels, count in LABELS.items()) / sum(LABELS.values())
    wanted = max(1, round(number * len(items) / shown))
    for scene in scenes([item.open_picture for item in items], number=wanted, size=size, seed=SEED):
        sides = np.tile(scene.boxes[:, 2:] - scene.boxes[:, :2], 2)
        moves = rng.uniform(*JITTER, sides.shape) * np.array([-1, -1, 1, 1])
        yield SceneView(scene.image, clip(scene.boxes + sides * moves, size, size), scene.members)
