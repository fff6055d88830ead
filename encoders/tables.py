"""Tokens of the training items, computed once and read by memory map: memory stays flat for any catalogue.

One table serves every encoder that looks at pictures in the same way. An item may have several views: its picture,
the picture mirrored, and windows of composed scenes where the product stands among others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageOps
from PIL.Image import Image
from torch import Tensor

from encoders.backbones import TextBackbone
from encoders.data import TrainItem, identities
from encoders.features import FeatureCache, text_tokens
from encoders.looking import Look
from encoders.masking import Masked
from encoders.regions.features import RegionTokens
from encoders.views import SceneView, scene_views
from kg.errors import BadPicture, TooLarge

__all__ = ["Batch", "EntityBatch", "TokenTable", "build_table", "open_table", "token_places", "told"]

CHUNK, SCENES = 128, 32  # pictures in memory
INDEX, FACTS = "index.npz", "table.json"


@dataclass(frozen=True)
class EntityBatch:
    """Entities of B items, and U nodes of their graph.

    Attributes:
        texts: (B, T, V) tokens of the entity sentences.
        text_mask: (B, T).
        words: (B, T) ids of their tokens.
        numbers: (B, K) the items' entities, −1 beyond.
        nodes: (U, L, V) tokens of single entities; None: no graph is used.
        node_mask: (U, L).
        similar: (U, U), S of these entities.
    """

    texts: Tensor
    text_mask: Tensor
    words: Tensor
    numbers: Tensor
    nodes: Tensor | None = None
    node_mask: Tensor | None = None
    similar: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """B items.

    Attributes:
        pictures: (B, R, W) tokens of a view of each.
        boxes: (B, R, 5): left, top, right, bottom as fractions of the view, share of its area.
        picture_mask: (B, R).
        texts: (B, T, V) tokens of the frozen text model.
        text_mask: (B, T).
        identity: (B, 2): items that share either number belong together (`encoders.data.identities`).
        words: (B, T) ids of the text's tokens.
        masked: the same with parts hidden, where a model asks for it.
        twin: features, boxes and mask of another view of each, where a model asks for it.
        entities: of the items, where a model asks for them.
        structured: (B, K) places of the items' structured entities (`encoders.lexicon`), −1 beyond.
    """

    pictures: Tensor
    boxes: Tensor
    picture_mask: Tensor
    texts: Tensor
    text_mask: Tensor
    identity: Tensor
    words: Tensor
    masked: Masked | None = None
    twin: tuple[Tensor, Tensor, Tensor] | None = None
    entities: EntityBatch | None = None
    structured: Tensor | None = None


@dataclass(frozen=True)
class TokenTable:
    """Tokens of N items in M pictures.

    Attributes:
        features: (M, R, W), zero beyond a picture's tokens.
        boxes: (M, R, 5).
        counts: (M,) tokens of each picture.
        views: (N, V) pictures of each item, the plain one first.
        texts: (all tokens, V), item after item.
        words: (all tokens,) their ids.
        starts: (N + 1,) where each item's text tokens begin.
        identity: (N, 2), see `encoders.data.identities`.
        parts: (N,) split of each item.
        digest: over everything the table was made of.
        skipped: items whose picture could not be read: (id, reason).
    """

    features: NDArray[np.float16]
    boxes: NDArray[np.float32]
    counts: NDArray[np.int64]
    views: NDArray[np.int64]
    texts: NDArray[np.float16]
    words: NDArray[np.int64]
    starts: NDArray[np.int64]
    identity: NDArray[np.int64]
    parts: NDArray[np.str_]
    digest: str
    skipped: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.identity)

    def same(self, rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(len(rows), len(others)): equal key or equal text."""
        return (self.identity[rows][:, None] == self.identity[others][None]).any(axis=2)

    def batch(
        self,
        rows: NDArray[np.int64],
        device: str,
        *,
        views: NDArray[np.int64] | int = 0,
        twins: NDArray[np.int64] | None = None,
        kind: torch.dtype = torch.float32,
    ) -> Batch:
        """Items by their rows, each in the view of that number; `twins`: other views of them, see `Batch.twin`. Their
        features are given in the precision `kind`."""
        where, mask = token_places(self.starts, rows)
        return Batch(
            *self._pictures(self.views[rows, views], device, kind),
            torch.from_numpy(self.texts[where]).to(device, kind),
            torch.from_numpy(mask).to(device),
            torch.from_numpy(self.identity[rows]).to(device),
            torch.from_numpy(self.words[where]).to(device),
            twin=None if twins is None else self._pictures(self.views[rows, twins], device, kind),
        )

    def _pictures(self, seen: NDArray[np.int64], device: str, kind: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        most = int(self.counts[seen].max())
        return (
            torch.from_numpy(self.features[seen, :most]).to(device, kind),
            torch.from_numpy(self.boxes[seen, :most]).to(device),
            torch.from_numpy(np.arange(most) < self.counts[seen][:, None]).to(device),
        )


def told(item: TrainItem) -> bytes:
    """What a table holds of an item beside its picture; of a text that was cut also by what it is alike."""
    cut = item.title is not None and not item.text.startswith(item.title)
    alike = f"{item.alike}\0" if cut else ""
    return f"{item.id}\0{item.key}\0{item.part}\0{item.text}\0{alike}".encode()


def token_places(starts: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where the tokens of these texts stand, and which of them there are, (B, T) each.

    Args:
        starts: (N + 1,) where each text's tokens begin, one text after the other.
        rows: (B,) texts.
    """
    lengths = starts[rows + 1] - starts[rows]
    places = np.arange(lengths.max())
    return np.minimum(starts[rows][:, None] + places, starts[-1] - 1), places < lengths[:, None]


def build_table(
    items: Iterable[TrainItem],
    look: Look,
    text: TextBackbone,
    folder: Path,
    *,
    mirrored: bool = False,
    scenes: int = 0,
    scene_size: int = 320,
    cache: FeatureCache | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> TokenTable:
    """Reads the items once and writes their tokens under `folder`; a picture that cannot be read skips its item.

    Args:
        items: what to read.
        look: makes the tokens of pictures.
        text: makes those of texts.
        folder: an empty one.
        mirrored: a view of each picture mirrored.
        scenes: views of each training item in composed scenes (`encoders.views`).
        scene_size: side of a scene in pixels.
        cache: of the tokens of texts; pictures have that of `look`.
        on_progress: told the number of items read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(f"{look.fingerprint}{text.fingerprint}{mirrored}{scenes}{scene_size}".encode())
    kept: list[TrainItem] = []
    skipped: list[tuple[str, str]] = []
    words: list[list[int]] = []
    plain: list[int] = []
    turned: list[int] = []
    with _Writer(folder, look) as writer, (folder / "texts.f16").open("wb") as text_file:

        def flush(chunk: list[tuple[TrainItem, Image]]) -> None:
            images = [image for _, image in chunk]
            plain.extend(writer.add(tokens for (tokens,) in look.see(images)))
            if mirrored:
                mirrors = [ImageOps.mirror(image) for image in images]
                turned.extend(writer.add(tokens for (tokens,) in look.see(mirrors)))
            texts = [item.text for item, _ in chunk]
            text_file.write(np.concatenate(text_tokens(text, texts, cache=cache)).tobytes())
            words.extend(text.ids(texts))
            kept.extend(item for item, _ in chunk)
            on_progress(len(kept) + len(skipped))

        chunk: list[tuple[TrainItem, Image]] = []
        for item in items:
            digest.update(told(item))
            try:
                image = item.open_picture().convert("RGB")
            except (BadPicture, TooLarge) as error:
                skipped.append((item.id, str(error)))
                continue
            chunk.append((item, image))
            digest.update(look.backbone.pixels(image).tobytes())
            if len(chunk) == CHUNK:
                flush(chunk)
                chunk = []
        if chunk:
            flush(chunk)
        views = [plain, turned] if mirrored else [plain]
        if scenes:
            views += _scene_views(kept, plain, look, writer, number=scenes, size=scene_size)
        counts = writer.counts
    index: dict[str, Any] = {
        "counts": np.array(counts, np.int64),
        "views": np.array(views, np.int64).T.reshape(len(kept), len(views)),
        "words": np.array([number for row in words for number in row], np.int64),
        "starts": np.concatenate([[0], np.cumsum([len(row) for row in words], dtype=np.int64)]).astype(np.int64),
        "identity": identities(kept) if kept else np.empty((0, 2), np.int64),
        "parts": np.array([item.part for item in kept], np.str_),
    }
    np.savez(folder / INDEX, **index)
    facts = {
        "digest": digest.hexdigest(),
        "skipped": skipped,
        "places": look.places,
        "width": look.width,
        "text_width": text.width,
    }
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")  # last: a folder with facts is whole
    return open_table(folder)


def open_table(folder: Path) -> TokenTable:
    """What `build_table` wrote."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    with np.load(folder / INDEX) as index:
        arrays = {name: index[name] for name in index.files}

    def mapped(name: str, kind: Any, *shape: int) -> NDArray[Any]:
        path = folder / name
        if not path.stat().st_size:
            return np.empty((0, *shape), kind)
        return np.memmap(path, kind, "r").reshape(-1, *shape)

    return TokenTable(
        features=mapped("features.f16", np.float16, facts["places"], facts["width"]),
        boxes=mapped("boxes.f32", np.float32, facts["places"], 5),
        texts=mapped("texts.f16", np.float16, facts["text_width"]),
        digest=facts["digest"],
        skipped=tuple((name, reason) for name, reason in facts["skipped"]),
        **arrays,
    )


class _Writer:
    """Appends pictures to the files of a table."""

    def __init__(self, folder: Path, look: Look) -> None:
        self.features = (folder / "features.f16").open("wb")
        self.boxes = (folder / "boxes.f32").open("wb")
        self.places, self.width = look.places, look.width
        self.counts: list[int] = []

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.features.close()
        self.boxes.close()

    def add(self, pictures: Iterable[RegionTokens]) -> Iterator[int]:
        """Numbers of the pictures in the table."""
        for tokens in pictures:
            count = len(tokens.boxes)
            features = np.zeros((self.places, self.width), np.float16)
            boxes = np.zeros((self.places, 5), np.float32)
            features[:count], boxes[:count] = tokens.features, tokens.boxes
            self.features.write(features.tobytes())
            self.boxes.write(boxes.tobytes())
            self.counts.append(count)
            yield len(self.counts) - 1


def _scene_views(
    items: Sequence[TrainItem], plain: Sequence[int], look: Look, writer: _Writer, *, number: int, size: int
) -> list[list[int]]:
    """`number` views of each item: windows of scenes; the plain view where there are not enough. Only what is trained
    on is in scenes."""
    rows = [row for row, item in enumerate(items) if item.part == "train"]
    found: list[list[int]] = [[] for _ in items]
    for part in _chunks(scene_views([items[row] for row in rows], number=number, size=size), SCENES):
        seen = look.see([scene.image for scene in part], [scene.windows for scene in part])
        for scene, windows in zip(part, seen, strict=True):
            for member, tokens in zip(scene.members, windows, strict=True):
                if len(found[rows[member]]) < number:
                    found[rows[member]].extend(writer.add([tokens]))
    return [[views[n] if n < len(views) else plain[row] for row, views in enumerate(found)] for n in range(number)]


def _chunks(scenes: Iterator[SceneView], size: int) -> Iterator[list[SceneView]]:
    while part := list(islice(scenes, size)):
        yield part
