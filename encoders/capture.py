"""`capture`: separate, cross and joint transformers over regions and words (Zhan et al., "Product1M", ICCV 2021;
papers.md 1.5 to 1.8).

    words ── text transformer ────┐ pre-fusion         ┌─ cross (co-attention both ways) ─┐ ┌─ joint ─┐ post-fusion
                                  ├─ vectors: NT-Xent ─┤                                  ├─┤         ├─ vectors, masked
    regions ─ picture transformer ┘ over 2B            └─ own feed-forward per stream ────┘ └─────────┘  words, regions

The first token of each stream ([CLS], global token) gives the vector. Unlike the released code: the vectors that are
exported carry a loss (`loss_on`; there only masked words and regions reach the post-fusion vectors), and the word head
has no detour through the contrast's space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders.backbones import TextBackbone
from encoders.contrast import Output, contrast, unchanged
from encoders.dual import DualEncoder, open_dual
from encoders.looking import Look
from encoders.masking import Masked, Rates
from encoders.parts import PictureEntry, Pretext, VectorHead, hide_tokens, one_of, text_entry, triple
from encoders.tables import Batch
from encoders.transformers import CrossLayer, Layer, copy_layers, run_layers
from kg.errors import BadInput

__all__ = ["Capture", "build", "load_encoder"]


class Capture(nn.Module):
    """The model. Masks are true where there is a token; row 0 of a picture is its global token.

    Args:
        picture_inside: width W of a region's features.
        text_inside: width of the frozen text model's tokens.
        places: most words and most regions (the global token included).
        words: (V, E) word embeddings of the frozen text model.
        width: of a token.
        layers: depths of the separate, cross and joint transformers.
        heads: of the text transformer; must divide `width`.
        picture_heads: of the picture transformer and the cross one; `heads` where left out.
        joint_heads: of the joint transformer; `heads` where left out.
        hidden: width of the feed-forward parts; four times `width` where left out.
        picture_hidden: that of the picture transformer; `hidden` where left out.
        cross_width: of the attention between the streams; `width` where left out.
        dim: of a vector.
        head: see `VectorHead`.
        pre_norm: norms before attention and feed-forward in the separate and cross layers; else after, as in BERT.
            The joint transformer always has them before.
        types: a learned vector for each stream in the joint transformer.
        dropout: in training only.
        hide_words, hide_regions: shares hidden from the contrast, in training only.
        temperature: at the start; its inverse stays between 1 and 100.
        learned_temperature: it is trained; else it stays (as released).
        mlm, mrm, ntxent: weights of the losses; 0 turns one off.
        views: weight of the same contrast between two views of each picture (not in the paper: there pictures meet
            pictures as negatives only); on pre-fusion vectors.
        contrast_loss: "nt_xent" (2B vectors) or "info_nce" (B against B).
        loss_on: the contrast is on vectors "pre" fusion, "post", or "both".
        ntxent_on: pre-fusion vectors of "clean" inputs, or of "masked" ones (one pass, as released).
        vectors: which vectors stand for a lone picture or text; "post" leaves the other stream away.
        item: which stand for a picture with its text: "sum" of the lone vectors, or "post" fusion.
        item_text: weight of the text's vector in that sum.
        global_token: "window" (pooled over the picture) or "mean" (of the regions, as released).
        skip: "none", or the global features reach the vector also by a linear map, which starts as their principal
            components ("pca") or at random ("random").
        mask_words, mask_regions: shares hidden for the masked losses.
        mask_items: share of a batch's items that the masked losses, and a contrast of what they see, are taken on.

    Raises:
        ValueError: values that do not fit together.
    """

    def __init__(
        self,
        *,
        picture_inside: int,
        text_inside: int,
        places: tuple[int, int],
        words: Tensor,
        width: int,
        layers: Sequence[int],
        heads: int,
        picture_heads: int = 0,
        joint_heads: int = 0,
        hidden: int = 0,
        picture_hidden: int = 0,
        cross_width: int = 0,
        dim: int,
        head: str = "linear",
        pre_norm: bool = True,
        types: bool = False,
        dropout: float = 0.0,
        hide_words: float = 0.0,
        hide_regions: float = 0.0,
        temperature: float = 0.07,
        learned_temperature: bool = True,
        mlm: float = 1.0,
        mrm: float = 1.0,
        ntxent: float = 1.0,
        views: float = 0.0,
        contrast_loss: str = "nt_xent",
        loss_on: str = "pre",
        ntxent_on: str = "clean",
        vectors: str = "pre",
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
        one_of("loss_on", loss_on, ("pre", "post", "both"))
        one_of("ntxent_on", ntxent_on, ("clean", "masked"))
        one_of("vectors", vectors, ("pre", "post"))
        one_of("item", item, ("sum", "post"))
        one_of("global_token", global_token, ("window", "mean"))
        one_of("skip", skip, ("none", "pca", "random"))
        if views and not (ntxent and loss_on != "post" and ntxent_on == "clean"):
            raise ValueError(f"views {views}: it goes with the contrast of clean pre-fusion vectors")
        if max(mlm, mrm, ntxent) <= 0:
            raise ValueError(f"mlm {mlm}, mrm {mrm}, ntxent {ntxent}: one loss at least must have a weight")
        separate, cross, joint = triple(layers)
        picture_heads, picture_hidden = picture_heads or heads, picture_hidden or hidden
        self.weights = {"mlm": mlm, "mrm": mrm, "ntxent": ntxent, "views": views}
        self.twins = views > 0
        self.needs_masked = bool(mlm or mrm or (ntxent and (loss_on != "pre" or ntxent_on == "masked")))
        rates = Rates(mask_words if mlm else 0.0, mask_regions if mrm else 0.0, mask_items)
        self.rates = rates if self.needs_masked else None
        self.contrast_loss, self.loss_on, self.ntxent_on = contrast_loss, loss_on, ntxent_on
        self.exported, self.item, self.item_text, self.from_pca = vectors, item, item_text, skip == "pca"
        self.initialised: list[nn.Parameter] = []  # weights that did not start at random: see `initialise`
        self.hide_words, self.hide_regions = hide_words, hide_regions
        rest: dict[str, Any] = {"dropout": dropout, "pre": pre_norm}
        self.text_entry = text_entry(text_inside, width)
        self.picture_entry = PictureEntry(picture_inside, width, dropout=dropout, mean=global_token == "mean")
        self.text_layers = nn.ModuleList(Layer(width, heads, hidden=hidden, **rest) for _ in range(separate))
        self.picture_layers = nn.ModuleList(
            Layer(width, picture_heads, hidden=picture_hidden, **rest) for _ in range(separate)
        )
        self.cross_layers = nn.ModuleList(
            CrossLayer(width, picture_heads, inner=cross_width, hidden=hidden, **rest) for _ in range(cross)
        )
        self.joint_layers = nn.ModuleList(
            Layer(width, joint_heads or heads, hidden=hidden, dropout=dropout) for _ in range(joint)
        )
        self.joint_places = nn.Parameter(torch.randn(sum(places), width) * 0.02) if joint else None
        self.joint_types = nn.Parameter(torch.randn(2, width) * 0.02) if joint and types else None
        self.joint_norm = nn.LayerNorm(width) if joint else nn.Identity()
        self.words = places[0]
        self.text_head = VectorHead(width, dim, kind=head)
        self.picture_head = VectorHead(width, dim, kind=head, skip=picture_inside if skip != "none" else 0)
        self.pretext = Pretext(width, regions=picture_inside, words=words)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)), requires_grad=learned_temperature)

    def start(self, pictures: Tensor, mask: Tensor, words: Tensor) -> None:
        """What training pictures (N, R, W), mask (N, R), and the ids (M,) of all texts tell before the first step."""
        self.pretext.start(words)
        self.picture_entry.start(pictures, mask)
        if self.from_pca:
            self.picture_head.start(self.picture_entry.whole(pictures, mask))

    def vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, dim) of the lone pictures and of the lone texts."""
        return (
            self.picture_vectors(batch.pictures, batch.boxes, batch.picture_mask),
            self.text_vectors(batch.texts, batch.text_mask),
        )

    def forward(self, batch: Batch, output: Output = unchanged) -> dict[str, Tensor]:
        """The losses of a batch by name, weighted; their sum is what is trained. A loss of weight 0 is not computed.

        Args:
            batch: with masked parts and second views, where a loss asks for them.
            output: of the lone texts' vectors, before they meet the pictures'.

        Raises:
            ValueError: the batch has nothing masked, and a loss asks for it.
        """
        found: dict[str, Tensor] = {}
        pre = self.weights["ntxent"] > 0 and self.loss_on in ("pre", "both")
        post = self.weights["ntxent"] > 0 and self.loss_on in ("post", "both")
        if pre and self.ntxent_on == "clean":
            picture_mask = hide_tokens(batch.picture_mask, self.hide_regions if self.training else 0.0)
            text_mask = hide_tokens(batch.text_mask, self.hide_words if self.training else 0.0)
            vectors = (
                self._pre_pictures(batch.pictures, batch.boxes, picture_mask),
                output(self._pre_texts(batch.texts, text_mask)),
            )
            found["ntxent"] = self.contrasted(*vectors, batch)
            if self.twins:
                found["views"] = self.contrasted(vectors[0], self.twin(batch), batch, "views")
        if not self.needs_masked:
            return found
        if batch.masked is None:
            raise ValueError("the batch has nothing masked, and the losses ask for it: see encoders.masking")
        part = batch.masked
        texts = self.text_tokens(part.texts, part.text_mask)
        pictures = self.picture_tokens(part.pictures, part.boxes, part.picture_mask)
        features = self.picture_entry.whole(part.pictures, part.picture_mask)
        if pre and self.ntxent_on == "masked":
            vectors = self.picture_head(pictures[:, 0], features), self.text_head(texts[:, 0])
            found["ntxent"] = self.contrasted(*vectors, part)
        if not (post or self.weights["mlm"] or self.weights["mrm"]):
            return found
        pictures, texts = self.fuse(pictures, part.picture_mask, texts, part.text_mask)
        if post:
            vectors = self.picture_head(pictures[:, 0], features), self.text_head(texts[:, 0])
            found["ntxent_post"] = self.contrasted(*vectors, part)
        if self.weights["mlm"]:
            found["mlm"] = self.weights["mlm"] * self.pretext.word_loss(texts, part)
        if self.weights["mrm"]:
            wanted = part.features * self.picture_entry.scale
            found["mrm"] = self.weights["mrm"] * self.pretext.region_loss(pictures[part.regions], wanted)
        return found

    def picture_vectors(self, pictures: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        """(B, R, W), (B, R, 5), (B, R) to (B, dim), unit rows."""
        if self.exported == "pre":
            return self._pre_pictures(pictures, boxes, mask)
        tokens = self._alone(self.picture_tokens(pictures, boxes, mask), mask, stream=0)
        return self.picture_head(tokens[:, 0], self.picture_entry.whole(pictures, mask))

    def text_vectors(self, texts: Tensor, mask: Tensor) -> Tensor:
        """(B, T, V), (B, T) to (B, dim), unit rows."""
        if self.exported == "pre":
            return self._pre_texts(texts, mask)
        return self.text_head(self._alone(self.text_tokens(texts, mask), mask, stream=1)[:, 0])

    def fused_vectors(
        self, pictures: Tensor, boxes: Tensor, picture_mask: Tensor, texts: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Post-fusion vectors of items, (B, dim) each: of the global token, and of [CLS]."""
        seen, read = self.fuse(
            self.picture_tokens(pictures, boxes, picture_mask),
            picture_mask,
            self.text_tokens(texts, text_mask),
            text_mask,
        )
        features = self.picture_entry.whole(pictures, picture_mask)
        return self.picture_head(seen[:, 0], features), self.text_head(read[:, 0])

    @property
    def scale(self) -> Tensor:
        """One over the temperature."""
        return self.log_scale.clamp(0, math.log(100)).exp()

    def contrasted(self, some: Tensor, others: Tensor, batch: Batch | Masked, weight: str = "ntxent") -> Tensor:
        """The contrast of two (B, dim), times the loss's weight."""
        return self.weights[weight] * contrast(self.contrast_loss, some, others, self.scale, batch.identity)

    def twin(self, batch: Batch) -> Tensor:
        """(B, dim) of the second views."""
        if batch.twin is None:
            raise ValueError("the batch has no second views, and the loss between views asks for them")
        pictures, boxes, mask = batch.twin
        return self._pre_pictures(pictures, boxes, hide_tokens(mask, self.hide_regions if self.training else 0.0))

    def _pre_pictures(self, pictures: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        tokens = self.picture_tokens(pictures, boxes, mask, first=True)
        return self.picture_head(tokens[:, 0], self.picture_entry.whole(pictures, mask))

    def _pre_texts(self, texts: Tensor, mask: Tensor) -> Tensor:
        return self.text_head(self.text_tokens(texts, mask, first=True)[:, 0])

    def picture_tokens(self, pictures: Tensor, boxes: Tensor, mask: Tensor, *, first: bool = False) -> Tensor:
        """Through the picture transformer: (B, R, width), or (B, 1, width) where only the first is wanted."""
        return run_layers(self.picture_layers, self.picture_entry(pictures, boxes, mask), mask, first=first)

    def text_tokens(self, texts: Tensor, mask: Tensor, *, first: bool = False) -> Tensor:
        """Through the text transformer: (B, T, width), or (B, 1, width)."""
        return run_layers(self.text_layers, self.text_entry(texts), mask, first=first)

    def fuse(self, pictures: Tensor, picture_mask: Tensor, texts: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Cross and joint transformers over both streams: (B, R, width), (B, T, width)."""
        for layer in self.cross_layers:
            pictures, texts = layer(pictures, picture_mask, texts, text_mask)
        return self.join(pictures, picture_mask, texts, text_mask)

    def join(
        self, others: Tensor, other_mask: Tensor, texts: Tensor, text_mask: Tensor, *, stream: int = 0
    ) -> tuple[Tensor, Tensor]:
        """The joint transformer over texts and what stands beside them: pictures, or (stream 1) other texts."""
        length = texts.shape[1]
        both = torch.cat([self._placed(texts, 1), self._placed(others, stream)], dim=1)
        both = run_layers(self.joint_layers, both, torch.cat([text_mask, other_mask], dim=1))
        both = self.joint_norm(both)
        return both[:, length:], both[:, :length]

    def _alone(self, tokens: Tensor, mask: Tensor, *, stream: int) -> Tensor:
        """The same for one stream (0 pictures, 1 texts) where there is no other."""
        for layer in self.cross_layers:
            tokens = layer.alone(tokens, stream)  # type: ignore[operator]
        return self.joint_norm(run_layers(self.joint_layers, self._placed(tokens, stream), mask, first=True))

    def _placed(self, tokens: Tensor, stream: int) -> Tensor:
        if self.joint_places is not None:
            start = 0 if stream else self.words
            tokens = tokens + self.joint_places[start : start + tokens.shape[1]]
        return tokens if self.joint_types is None else tokens + self.joint_types[stream]


def build(config: Mapping[str, Any], picture: Look, text: TextBackbone) -> Capture:
    """A model with new weights, from the "model" part of a config; its text layers start as the text model's next
    ones where "text.initialise" says so.

    Raises:
        BadInput: the config does not fit.
    """
    try:
        model = Capture(
            picture_inside=picture.width,
            text_inside=text.width,
            places=(text.places, picture.places),
            words=text.words,
            **config["model"],
        )
        if config["text"].get("initialise"):
            model.initialised = copy_layers(model.text_layers, text)
        return model
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the model part of the config does not fit: {error}", hint="see encoders/configs") from error


def load_encoder(
    folder: Path, *, device: str, cache: Path | None = None, cache_gb: float = 8.0, batch: int = 64
) -> DualEncoder:
    """Opens a checkpoint; see `encoders.load`."""
    return open_dual(build, folder, device=device, cache=cache, cache_gb=cache_gb, batch=batch)
