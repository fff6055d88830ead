"""A trained model over two frozen backbones as an `Encoder`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image, fromarray
from torch import Tensor, nn

from encoders import checkpoint
from encoders.appending import hidden, made_room, said_after
from encoders.backbones import TextBackbone, text_backbone
from encoders.data import with_entities
from encoders.entities import Vocabulary, open_lexicon
from encoders.features import FeatureCache
from encoders.kept import Kept
from encoders.lexicon import Lexicon
from encoders.looking import Look, make_look, padded
from encoders.protocol import Entities, Regions, entity_encoder, region_encoder
from encoders.regions.detector import Detector, load_detector
from encoders.regions.features import RegionTokens
from encoders.tables import EntityBatch
from kg.errors import BadInput, EncoderMismatch

__all__ = ["DualEncoder", "Vectors", "open_dual"]

DETECTOR = "detector"  # folder in a checkpoint


class Vectors(Protocol):
    """What an encoder needs of its model. Masks are true where there is a token, vectors have unit length.

    Attributes:
        item: a picture with its text is "sum", the direction halfway between the two lone vectors, or "post": the
            direction halfway between the two of `fused_vectors`.
        item_text: weight of the text's vector in the sum; 1 is halfway.
    """

    item: str
    item_text: float

    def picture_vectors(self, pictures: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        """(B, R, W), (B, R, 5), (B, R) to (B, dim)."""
        ...

    def text_vectors(self, texts: Tensor, mask: Tensor) -> Tensor:
        """(B, T, V), (B, T) to (B, dim); where the encoder has a vocabulary or a lexicon, with what it finds."""
        ...

    def fused_vectors(
        self, pictures: Tensor, boxes: Tensor, picture_mask: Tensor, texts: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of items whose picture and text have seen each other: (B, dim) of the picture, and of the text."""
        ...


@dataclass(frozen=True)
class DualEncoder:
    """`kg` and its friends see it as `encoders.protocol.RegionEncoder`, `EntityEncoder` and `SmallPictures`.

    Attributes:
        folder: of the checkpoint it was opened from.
        look: makes the tokens of pictures, and knows the detector.
        batch: pictures or texts in one forward pass.
        vocabulary: entities that are found in texts, where the model reads such too.
        lexicon: structured entities, where the model reads these.
        appended: entities that are given are said after the text.
        makes_room: a text that would be too long then is cut, not what is said after it.
        kept: part of the vectors that was not trained, where they have one.
    """

    name: str
    dim: int
    fingerprint: str
    folder: Path
    device: str
    look: Look
    text_backbone: TextBackbone
    model: Vectors
    batch: int = 64
    vocabulary: Vocabulary | None = None
    lexicon: Lexicon | None = None
    appended: bool = False
    kept: Kept | None = None
    makes_room: bool = True

    @property
    def takes_entities(self) -> bool:
        return self.lexicon is not None or self.appended

    @property
    def detector(self) -> Detector | None:
        """Finds products; None where the encoder sees a picture only as a whole."""
        return self.look.detector

    @property
    def side(self) -> int:
        """Pixels of the square that `shrink` makes; 0 where it makes none."""
        return self.look.side

    def shrink(self, image: Image) -> Image:
        """What the backbone sees of a whole picture; where a detector looks at it too, the picture itself."""
        return fromarray(self.look.backbone.pixels(image)) if self.look.side else image

    def encode_images(self, images: Sequence[Image]) -> NDArray[np.float32]:
        return self._joined(
            self._pictures([tokens for (tokens,) in self.look.see(images[rows])]) for rows in self._slices(len(images))
        )

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], entities: Sequence[Entities] | None = None) -> NDArray[np.float32]:
        """(N, dim); `entities`: see `encoders.protocol.EntityEncoder`.

        Raises:
            BadInput: entities are given to an encoder that takes none, or of another number of texts.
        """
        texts, whole, extra = self._read(texts, entities)
        # Texts of like length share a batch: less padding to compute.
        order = np.argsort([len(text) for text in texts], kind="stable")
        out = np.empty((len(texts), self.dim), np.float32)
        for rows in self._slices(len(texts)):
            some = [texts[i] for i in order[rows]]
            found: tuple[Any, ...] = self.text_backbone.tokens(some)
            if self.vocabulary:
                found = (*found, self._entities([whole[i] for i in order[rows]], self.vocabulary))
            also = {name: torch.from_numpy(given[order[rows]]).to(self.device) for name, given in extra.items()}
            vectors = self.model.text_vectors(*found, **also)
            out[order[rows]] = (self.kept.texts(vectors) if self.kept else vectors).float().cpu().numpy()
        return out

    def _read(
        self, texts: Sequence[str], entities: Sequence[Entities] | None
    ) -> tuple[list[str], list[str], dict[str, NDArray[np.int64]]]:
        """Texts as the model reads them, the same with nothing masked, and places of their entities by their name."""
        if entities is not None:
            entity_encoder(self)  # type: ignore[arg-type]
            if len(entities) != len(texts):
                raise BadInput(
                    f"entities of {len(entities)} texts, and {len(texts)} texts: each has its own, () for none"
                )
        given = entities if self.appended else None
        found = list(texts) if given is None else list(map(with_entities, texts, given))
        whole = found if given is None or not self.makes_room else said_after(texts, given, self.text_backbone)
        if self.lexicon is None:
            return whole, whole, {}
        places = self.lexicon.find(found, entities)
        read = hidden(self.lexicon, texts, given, places, self.text_backbone) if self.makes_room else whole
        return read, whole, {"structured": places}

    def _entities(self, texts: Sequence[str], vocabulary: Vocabulary) -> EntityBatch:
        numbers = vocabulary.find(texts)
        tokens = self.text_backbone.tokens(vocabulary.sentences(numbers, self.text_backbone))
        nothing = torch.zeros(tokens.mask.shape, dtype=torch.int64, device=self.device)  # ids are for masked words
        return EntityBatch(*tokens, nothing, torch.from_numpy(numbers).to(self.device))

    def encode_items(
        self, images: Sequence[Image], texts: Sequence[str], entities: Sequence[Entities] | None = None
    ) -> NDArray[np.float32]:
        """Picture and text of one item as one vector, see `Vectors.item`."""
        if self.model.item == "sum":
            return _between(self.encode_images(images), self.model.item_text * self.encode_texts(texts, entities))
        return _between(*self.encode_fused(images, texts, entities))

    @torch.inference_mode()
    def encode_fused(
        self, images: Sequence[Image], texts: Sequence[str], entities: Sequence[Entities] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Post-fusion vectors of items, (N, dim) each: of the picture, and of the text. Entities have a part in it as
        far as they are said after the text; vectors of their own are not fused.

        Raises:
            BadInput: the encoder has none; entities as with `encode_texts`.
        """
        if not hasattr(self.model, "fused_vectors"):
            raise BadInput(f"encoder {self.name} has no fusion", hint="capture and uniter_style have one")
        texts, _, _ = self._read(texts, entities)

        def fused(rows: slice) -> tuple[Tensor, Tensor]:
            seen = padded([tokens for (tokens,) in self.look.see(images[rows])], self.device)
            return self.model.fused_vectors(*seen, *self.text_backbone.tokens(texts[rows]))

        both = [fused(rows) for rows in self._slices(len(images))]
        if self.kept:
            both = [(self.kept.texts(picture), self.kept.texts(text)) for picture, text in both]
        return self._joined(picture for picture, _ in both), self._joined(text for _, text in both)

    def propose(self, images: Sequence[Image], *, limit: int = 36) -> list[Regions]:
        """At most `limit` regions of each picture.

        Raises:
            BadInput: the encoder has no detector.
        """
        region_encoder(self)  # type: ignore[arg-type]
        return [found for rows in self._slices(len(images)) for found in self.look.propose(images[rows], limit=limit)]

    def encode_regions(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """(N_i, 4) boxes of each picture, in its pixels, to (N_i, dim). Needs no detector where the boxes are given.

        Raises:
            BadInput: a box that is empty, swapped, or outside its picture.
        """
        seen = [part for rows in self._slices(len(images)) for part in self.look.see(images[rows], list(boxes[rows]))]
        flat = [tokens for part in seen for tokens in part]
        vectors = self._joined(self._pictures(flat[rows]) for rows in self._slices(len(flat)))
        return np.split(vectors, np.cumsum([len(part) for part in seen])[:-1]) if seen else []

    def save_pretrained(self, folder: Path) -> None:
        """Copies the checkpoint."""
        if folder.absolute() != self.folder.absolute():
            shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    @torch.inference_mode()
    def _pictures(self, seen: Sequence[RegionTokens]) -> Tensor:
        features, boxes, mask = padded(seen, self.device)
        vectors = self.model.picture_vectors(features, boxes, mask)
        return self.kept.pictures(vectors, features[:, 0]) if self.kept else vectors

    def _slices(self, count: int) -> Iterator[slice]:
        return (slice(start, start + self.batch) for start in range(0, count, self.batch))

    def _joined(self, parts: Iterator[Tensor]) -> NDArray[np.float32]:
        return np.concatenate([np.empty((0, self.dim), np.float32), *(part.float().cpu().numpy() for part in parts)])


def open_dual(
    build: Callable[[Mapping[str, Any], Look, TextBackbone], nn.Module],
    folder: Path,
    *,
    device: str,
    cache: Path | None = None,
    cache_gb: float = 8.0,
    batch: int = 64,
) -> DualEncoder:
    """Opens a checkpoint of a model that `build` makes; see `encoders.load`."""
    config, weights = checkpoint.read(folder)
    lacking = sorted({"picture", "text", "model"} - set(config))
    if lacking:
        raise BadInput(f"{folder}: the config lacks {', '.join(lacking)}", hint="train it again")
    makes_room = made_room(folder, config)
    detector = _detector(folder, config.get("detector"), device)
    look = make_look(
        config["picture"],
        detector,
        device=device,
        mean=weights[checkpoint.MEAN].numpy() if checkpoint.MEAN in weights else None,
        cache=FeatureCache.at(cache, cache_gb) if cache else None,
        batch=batch,
    )
    text = text_backbone(
        config["text"]["backbone"],
        places=config["text"]["places"],
        device=device,
        tokenizer=str(folder / checkpoint.TOKENIZER),
        depth=config["text"].get("depth"),
    )
    for kind, fingerprint in (("picture", look.backbone.fingerprint), ("text", text.fingerprint)):
        if fingerprint != config[kind]["fingerprint"]:
            raise EncoderMismatch(
                f"{folder} was trained on {kind} backbone {config[kind]['backbone']} with fingerprint "
                f"{config[kind]['fingerprint'][:10]}…, here it has {fingerprint[:10]}…",
                hint="install the version it was trained with, or train again",
            )
    vocabulary = Vocabulary.open(folder) if config.get("entities") else None
    if vocabulary and vocabulary.fingerprint != config["entities"]["fingerprint"]:
        raise EncoderMismatch(f"{folder}: its entities are not those it was trained with", hint="train it again")
    lexicon = None
    if settings := config.get("learner"):
        lexicon = open_lexicon(folder, settings, text)
        if lexicon.fingerprint != settings["fingerprint"]:
            raise EncoderMismatch(f"{folder}: its entities are not those it was trained with", hint="train it again")
    model = build({**config, "text": {**config["text"], "initialise": False}}, look, text)
    try:
        model.load_state_dict(
            {name: value for name, value in weights.items() if name not in (checkpoint.MEAN, *checkpoint.KEPT)}
        )
    except RuntimeError as error:
        raise BadInput(f"{folder}: the weights do not fit the config: {error}", hint="train it again") from error
    model.eval().requires_grad_(False).to(device)
    kept = None
    if settings := config.get("kept"):
        weight, bias = (weights[name].to(device) for name in checkpoint.KEPT)
        kept = Kept(weight, bias, settings["share"])
    return DualEncoder(
        config["encoder"],
        config["model"]["dim"] + (kept.dim if kept else 0),
        checkpoint.fingerprint(config, weights),
        folder,
        device,
        look,
        text,
        model,  # type: ignore[arg-type]
        batch,
        vocabulary,
        lexicon,
        config["text"].get("appended", False),
        kept,
        makes_room,
    )


def _detector(folder: Path, known: Mapping[str, str] | None, device: str) -> Detector | None:
    """The detector of a checkpoint: {"name", "fingerprint"}; one that was trained lies in its folder."""
    if not known:
        return None
    name = folder / DETECTOR if known["name"] == DETECTOR else known["name"]
    detector = load_detector(name, device=device)
    if detector.fingerprint != known["fingerprint"]:
        raise EncoderMismatch(
            f"{folder} was trained with detector {known['name']} of fingerprint {known['fingerprint'][:10]}…, here it "
            f"has {detector.fingerprint[:10]}…",
            hint="install the version it was trained with, or train again",
        )
    return detector


def _between(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    both = a + b
    return both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)
