"""`uniter_style`: one transformer over words and regions together (after Chen et al., "UNITER", ECCV 2020), as a
baseline at the data, backbones and budget of `capture`.

UNITER scores every pair of a text and a picture in one pass, which no gallery can afford. Here pictures and texts also
pass alone, through the very same layers, and NT-Xent over 2B stands on the first tokens of these lone passes: vectors
of a gallery are computed once, as for every other encoder. Masked words and masked regions are predicted from the pass
over both. "-style" because of this, and because image-text matching and word-region alignment are left away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders.backbones import TextBackbone
from encoders.contrast import contrast
from encoders.dual import DualEncoder, open_dual
from encoders.looking import Look
from encoders.masking import Rates
from encoders.parts import PictureEntry, Pretext, VectorHead, hide_tokens, one_of, text_entry
from encoders.tables import Batch
from encoders.transformers import Layer, copy_layers, run_layers
from kg.errors import BadInput

__all__ = ["UniterStyle", "build", "load_encoder"]


class UniterStyle(nn.Module):
    """The model. Masks are true where there is a token; row 0 of a picture is its global token.

    Args:
        picture_inside: width W of a region's features.
        text_inside: width of the frozen text model's tokens.
        words: (V, E) word embeddings of the frozen text model.
        width: of a token.
        layers: depth of the transformer.
        heads: must divide `width`.
        hidden: width of the feed-forward parts; four times `width` where left out.
        dim: of a vector.
        head: see `VectorHead`.
        pre_norm: norms before attention and feed-forward; else after, as in BERT.
        dropout: in training only.
        hide_words, hide_regions: shares hidden from the contrast, in training only.
        temperature: at the start; its inverse stays between 1 and 100.
        mlm, mrm, ntxent: weights of the losses; 0 turns one off.
        views: weight of the same contrast between two views of each picture, as in `encoders.capture.Capture`.
        contrast_loss, item, item_text, global_token, skip, mask_words, mask_regions, mask_items: as there.

    Raises:
        ValueError: values that do not fit together.
    """

    def __init__(
        self,
        *,
        picture_inside: int,
        text_inside: int,
        words: Tensor,
        width: int,
        layers: int,
        heads: int,
        hidden: int = 0,
        dim: int,
        head: str = "linear",
        pre_norm: bool = True,
        dropout: float = 0.0,
        hide_words: float = 0.0,
        hide_regions: float = 0.0,
        temperature: float = 0.07,
        mlm: float = 1.0,
        mrm: float = 1.0,
        ntxent: float = 1.0,
        views: float = 0.0,
        contrast_loss: str = "nt_xent",
        item: str = "sum",
        item_text: float = 1.0,
        global_token: str = "window",
        skip: str = "none",
        mask_words: float = 0.15,
        mask_regions: float = 0.15,
        mask_items: float = 1.0,
    ) -> None:
        super().__init__()
        one_of("contrast_loss", contrast_loss, ("nt_xent", "info_nce"))
        one_of("item", item, ("sum", "post"))
        one_of("global_token", global_token, ("window", "mean"))
        one_of("skip", skip, ("none", "pca", "random"))
        if max(mlm, mrm, ntxent) <= 0 or layers < 1:
            raise ValueError(f"mlm {mlm}, mrm {mrm}, ntxent {ntxent}, layers {layers}: a loss and a layer are needed")
        if views and not ntxent:
            raise ValueError(
                f"views {views}: it goes with the contrast of pictures and texts, whose weight is {ntxent}"
            )
        self.weights = {"mlm": mlm, "mrm": mrm, "ntxent": ntxent, "views": views}
        self.twins = views > 0
        self.rates = Rates(mask_words if mlm else 0.0, mask_regions if mrm else 0.0, mask_items) if mlm or mrm else None
        self.contrast_loss, self.item, self.item_text, self.from_pca = contrast_loss, item, item_text, skip == "pca"
        self.initialised: list[nn.Parameter] = []  # weights that did not start at random: see `build`
        self.hide_words, self.hide_regions = hide_words, hide_regions
        self.text_entry = text_entry(text_inside, width)
        self.picture_entry = PictureEntry(picture_inside, width, dropout=dropout, mean=global_token == "mean")
        self.types = nn.Parameter(torch.randn(2, width) * 0.02)
        self.layers = nn.ModuleList(
            Layer(width, heads, hidden=hidden, dropout=dropout, pre=pre_norm) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width) if pre_norm else nn.Identity()
        self.text_head = VectorHead(width, dim, kind=head)
        self.picture_head = VectorHead(width, dim, kind=head, skip=picture_inside if skip != "none" else 0)
        self.pretext = Pretext(width, regions=picture_inside, words=words)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def start(self, pictures: Tensor, mask: Tensor, words: Tensor) -> None:
        """What training pictures (N, R, W), mask (N, R), and the ids (M,) of all texts tell before the first step."""
        self.pretext.start(words)
        self.picture_entry.start(pictures, mask)
        if self.from_pca:
            self.picture_head.start(self.picture_entry.whole(pictures, mask))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of a batch by name, weighted; their sum is what is trained. A loss of weight 0 is not computed.

        Raises:
            ValueError: the batch has nothing masked, and a loss asks for it.
        """
        found: dict[str, Tensor] = {}
        if self.weights["ntxent"]:
            picture_mask = hide_tokens(batch.picture_mask, self.hide_regions if self.training else 0.0)
            text_mask = hide_tokens(batch.text_mask, self.hide_words if self.training else 0.0)
            pictures = self.picture_vectors(batch.pictures, batch.boxes, picture_mask)
            texts = self.text_vectors(batch.texts, text_mask)
            found["ntxent"] = self._contrast(pictures, texts, batch, "ntxent")
            if self.twins:
                found["views"] = self._contrast(pictures, self._twin(batch), batch, "views")
        if not (self.weights["mlm"] or self.weights["mrm"]):
            return found
        if batch.masked is None:
            raise ValueError("the batch has nothing masked, and the losses ask for it: see encoders.masking")
        part = batch.masked
        seen, read = self._both(part.pictures, part.boxes, part.picture_mask, part.texts, part.text_mask)
        if self.weights["mlm"]:
            found["mlm"] = self.weights["mlm"] * self.pretext.word_loss(read, part)
        if self.weights["mrm"]:
            wanted = part.features * self.picture_entry.scale
            found["mrm"] = self.weights["mrm"] * self.pretext.region_loss(seen[part.regions], wanted)
        return found

    def vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, dim) of the lone pictures and of the lone texts."""
        return (
            self.picture_vectors(batch.pictures, batch.boxes, batch.picture_mask),
            self.text_vectors(batch.texts, batch.text_mask),
        )

    def picture_vectors(self, pictures: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        """(B, R, W), (B, R, 5), (B, R) to (B, dim), unit rows: pictures that pass alone."""
        tokens = run_layers(self.layers, self._pictures(pictures, boxes, mask), mask, first=True)
        return self.picture_head(self.norm(tokens[:, 0]), self.picture_entry.whole(pictures, mask))

    def text_vectors(self, texts: Tensor, mask: Tensor) -> Tensor:
        """(B, T, V), (B, T) to (B, dim), unit rows: texts that pass alone."""
        return self.text_head(self.norm(run_layers(self.layers, self._texts(texts), mask, first=True)[:, 0]))

    def fused_vectors(
        self, pictures: Tensor, boxes: Tensor, picture_mask: Tensor, texts: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Vectors of items that pass together, (B, dim) each: of the global token, and of [CLS]."""
        seen, read = self._both(pictures, boxes, picture_mask, texts, text_mask)
        features = self.picture_entry.whole(pictures, picture_mask)
        return self.picture_head(seen[:, 0], features), self.text_head(read[:, 0])

    @property
    def scale(self) -> Tensor:
        """One over the temperature."""
        return self.log_scale.clamp(0, math.log(100)).exp()

    def _contrast(self, some: Tensor, others: Tensor, batch: Batch, weight: str) -> Tensor:
        return self.weights[weight] * contrast(self.contrast_loss, some, others, self.scale, batch.identity)

    def _twin(self, batch: Batch) -> Tensor:
        if batch.twin is None:
            raise ValueError("the batch has no second views, and the loss between views asks for them")
        pictures, boxes, mask = batch.twin
        return self.picture_vectors(pictures, boxes, hide_tokens(mask, self.hide_regions if self.training else 0.0))

    def _pictures(self, pictures: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        return self.picture_entry(pictures, boxes, mask) + self.types[0]

    def _texts(self, texts: Tensor) -> Tensor:
        return self.text_entry(texts) + self.types[1]

    def _both(
        self, pictures: Tensor, boxes: Tensor, picture_mask: Tensor, texts: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, R, width) and (B, T, width)."""
        both = torch.cat([self._texts(texts), self._pictures(pictures, boxes, picture_mask)], dim=1)
        both = self.norm(run_layers(self.layers, both, torch.cat([text_mask, picture_mask], dim=1)))
        return both[:, texts.shape[1] :], both[:, : texts.shape[1]]


def build(config: Mapping[str, Any], picture: Look, text: TextBackbone) -> UniterStyle:
    """A model with new weights, from the "model" part of a config; its layers start as the text model's next ones where
    "text.initialise" says so (UNITER starts from BERT).

    Raises:
        BadInput: the config does not fit.
    """
    try:
        model = UniterStyle(picture_inside=picture.width, text_inside=text.width, words=text.words, **config["model"])
        if config["text"].get("initialise"):
            model.initialised = copy_layers(model.layers, text)
        return model
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the model part of the config does not fit: {error}", hint="see encoders/configs") from error


def load_encoder(
    folder: Path, *, device: str, cache: Path | None = None, cache_gb: float = 8.0, batch: int = 64
) -> DualEncoder:
    """Opens a checkpoint; see `encoders.load`."""
    return open_dual(build, folder, device=device, cache=cache, cache_gb=cache_gb, batch=batch)
