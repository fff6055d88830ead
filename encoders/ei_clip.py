"""`ei_clip`: an EI-CLIP-style learner around any dual encoder (after Ma et al., "EI-CLIP", CVPR 2022; papers.md 3.4).
The published score, selection rule, encoder of entities and fusion are not known: docs/ei_clip.md says what is ours.

    caption, mentions of chosen entities masked ── base encoder ── t
    chosen entities e ─ table + type ─ MLP ─ u(e) ─ attention, asked by t ── u
    all chosen entities z ─ the same ─ softmax(q(t)·k(z)/√d)·P(z), of sum 1 ── d      (back-door dictionary)
    text vector = unit(t + g·u + h·d)                                                  gates g and h learn

That is the fusion "add". With "tokens" u is left away, and h(e) + MLP(h(e)) of the entities stand beside the caption's
tokens, where the base reads both.

A confounding entity so has a vector of its own, learned from pictures, and its pretrained meaning is not read. What
is added starts small, the gates at 1: the start is nearly the base encoder, and what is added can grow at the pace
of a matrix; a gate alone grows by the rate a step. With nothing chosen the model is the base, to the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.backbones import TextBackbone
from encoders.contrast import Output, unchanged
from encoders.dual import DualEncoder, open_dual
from encoders.looking import Look
from encoders.masking import Rates
from encoders.parts import one_of
from encoders.tables import Batch, EntityBatch
from kg.errors import BadInput

__all__ = ["BASES", "EiClip", "Learner", "build", "load_encoder"]

BASES = ("clip_style", "capture", "ege_cmp")


class Learner(nn.Module):
    """Places of structured entities to what they add to a text's vector.

    Args:
        places: P, chosen entities and the UNK of each type.
        types: T.
        dim: of a vector.
        width: of the table.
        hidden: of the MLP.
        dropout: in the MLP, in training only.
        dictionary: the back-door term.
        gate: of both terms at the start.
        freeze: the table stays as it starts; types and MLP learn.
        fusion: "add", or "tokens": then the width is that of the caption's tokens.

    Raises:
        ValueError: there is no such fusion.
    """

    type_numbers: Tensor
    log_share: Tensor

    def __init__(
        self,
        *,
        places: int,
        types: int,
        dim: int,
        width: int = 256,
        hidden: int = 512,
        dropout: float = 0.1,
        dictionary: bool = True,
        gate: float = 1.0,
        freeze: bool = False,
        fusion: str = "add",
    ) -> None:
        super().__init__()
        one_of("fusion", fusion, ("add", "tokens"))
        self.table = nn.Parameter(torch.randn(places, width) * 0.02, requires_grad=not freeze)
        self.types = nn.Parameter(torch.randn(types, width) * 0.02)
        last = nn.Linear(hidden, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), last)
        self.tokens, self.dictionary = fusion == "tokens", dictionary
        if self.tokens:
            nn.init.zeros_(last.weight)  # the start is what the table starts with
        else:
            self.asks, self.answers = nn.Linear(dim, width), nn.Linear(width, width)
            self.gate = nn.Parameter(torch.tensor(gate))
        if dictionary or not self.tokens:
            self.exit = nn.Linear(width, dim, bias=False)
            nn.init.normal_(self.exit.weight, std=0.02 / math.sqrt(width))
        if dictionary:
            self.dictionary_asks, self.dictionary_answers = nn.Linear(dim, width), nn.Linear(width, width)
            self.dictionary_gate = nn.Parameter(torch.tensor(gate))
        self.register_buffer("type_numbers", torch.zeros(places, dtype=torch.int64))
        self.register_buffer("log_share", torch.zeros(places))

    @torch.no_grad()
    def tell(self, type_numbers: Tensor, counts: Tensor, start: Tensor | None = None) -> None:
        """What the training items say before the first step.

        Args:
            type_numbers: (P,).
            counts: (P,) items that have each.
            start: (P, width) of the table, unit rows; rows of zeros start at random.
        """
        self.type_numbers.copy_(type_numbers)
        self.log_share.copy_(torch.log((counts + 1.0) / (counts + 1.0).sum()))
        if start is not None:
            given = start.to(self.table).abs().sum(dim=1, keepdim=True) > 0
            # As long as the random ones: types and entities weigh alike, and learn at one rate.
            self.table.copy_(torch.where(given, start.to(self.table) * 0.02 * math.sqrt(start.shape[1]), self.table))

    def meanings(self) -> tuple[Tensor, Tensor]:
        """(P, width) of what the table holds, with its types, and (P, width) of what the MLP makes of it."""
        held = self.table + self.types[self.type_numbers]
        return held, held + self.mlp(held)

    def beside(self, texts: Tensor, mask: Tensor, places: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, V) and mask (B, T) of captions, each cut to make room for its own entities, and with theirs
        right after it: behind the padding their places would be those of the longest caption of a batch."""
        some = self.meanings()[1][places.clamp(min=0)].to(texts.dtype)
        room = (most - (places >= 0).sum(dim=1, keepdim=True)).clamp(min=1)
        mask = mask & (torch.arange(mask.shape[1], device=mask.device) < room)
        tokens, there = torch.cat([texts, some], dim=1), torch.cat([mask, places >= 0], dim=1)
        order = (~there).byte().argsort(dim=1, stable=True)[:, :most]
        return tokens.gather(1, order[:, :, None].expand(-1, -1, tokens.shape[2])), there.gather(1, order)

    def forward(self, texts: Tensor, places: Tensor) -> Tensor:
        """What is added to the texts' vectors (B, dim) whose entities are (B, K) places, −1 beyond: (B, dim)."""
        added = torch.zeros_like(texts)
        if self.tokens and not self.dictionary:
            return added
        held, made = self.meanings()
        means, scale = self.exit(made), 1 / math.sqrt(held.shape[1])
        if not self.tokens:
            there, some = places >= 0, places.clamp(min=0)
            asked = torch.einsum("bw,bkw->bk", self.asks(texts), self.answers(held)[some]) * scale
            weights = torch.where(there, asked, -1e4).softmax(dim=1) * there
            added = added + self.gate * torch.einsum("bk,bkd->bd", weights, means[some])
        if self.dictionary:
            # Shares inside the softmax: the weights are softmax · P over their sum, whatever the number of entities.
            table = self.dictionary_asks(texts) @ self.dictionary_answers(held).T * scale + self.log_share
            added = added + self.dictionary_gate * (table.softmax(dim=1) @ means)
        return added


class EiClip(nn.Module):
    """The model.

    Args:
        base: the encoder that it is built around; captions come to it masked.
        learner: None: nothing is chosen, and this is the base.
        auxiliary: weight of the losses that name the entities by the picture's vector, and by the text's.
        dim: of a vector.
        places: most tokens of a text.
    """

    def __init__(
        self, base: Any, learner: Learner | None, *, dim: int, auxiliary: float = 0.0, places: int = 512
    ) -> None:
        super().__init__()
        self.base, self.learner, self.auxiliary, self.places = base, learner, auxiliary, places
        self.heads = None
        if learner is not None and auxiliary:
            self.heads = nn.ModuleList(nn.Linear(dim, len(learner.table)) for _ in range(2))

    @property
    def item(self) -> str:
        return self.base.item

    @property
    def item_text(self) -> float:
        return self.base.item_text

    @property
    def rates(self) -> Rates | None:
        return self.base.rates

    @property
    def twins(self) -> bool:
        return self.base.twins

    @property
    def initialised(self) -> list[nn.Parameter]:
        return self.base.initialised

    @property
    def fused_vectors(self) -> Any:
        """Of the base, where it has a fusion: of caption and picture; entities have no part in it."""
        return self.base.fused_vectors

    def start(self, pictures: Tensor, mask: Tensor, words: Tensor) -> None:
        self.base.start(pictures, mask, words)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The base's losses by name, with the texts' vectors as they are here, and the auxiliary ones."""
        batch = self._described(batch)
        found = self.base(batch, self._output(batch.structured))
        if self.heads is not None and batch.structured is not None:
            for name, head, vectors in zip(("picture", "text"), self.heads, self.base.vectors(batch), strict=True):
                found[f"names_{name}"] = self.auxiliary * named(head(vectors), batch.structured)
        return found

    def vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, dim) of the lone pictures, and of the texts with their entities."""
        batch = self._described(batch)
        pictures, texts = self.base.vectors(batch)
        return pictures, self._output(batch.structured)(texts)

    def picture_vectors(self, pictures: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        return self.base.picture_vectors(pictures, boxes, mask)

    def text_vectors(
        self, texts: Tensor, mask: Tensor, entities: EntityBatch | None = None, *, structured: Tensor | None = None
    ) -> Tensor:
        """(B, T, V), (B, T) of masked captions, and places (B, K) of their entities, to (B, dim), unit rows.
        `entities`: of a base that reads such."""
        if self.learner is not None and self.learner.tokens and structured is not None:
            texts, mask = self.learner.beside(texts, mask, structured, self.places)
        given = (texts, mask) if entities is None else (texts, mask, entities)
        return self._output(structured)(self.base.text_vectors(*given))

    def _described(self, batch: Batch) -> Batch:
        """The batch, with its entities' tokens beside those of its captions where they are fused so."""
        if self.learner is None or not self.learner.tokens or batch.structured is None:
            return batch
        texts, mask = self.learner.beside(batch.texts, batch.text_mask, batch.structured, self.places)
        return replace(batch, texts=texts, text_mask=mask)

    def _output(self, places: Tensor | None) -> Output:
        learner = self.learner
        if learner is None or places is None:
            return unchanged
        return lambda texts: functional.normalize(texts.float() + learner(texts, places).float(), dim=-1)


def named(scores: Tensor, places: Tensor) -> Tensor:
    """Mean negative log-likelihood of the entities (B, K; −1 beyond) by scores (B, P) of all."""
    there = places >= 0
    found = -scores.float().log_softmax(dim=1).gather(1, places.clamp(min=0)) * there
    return found.sum() / there.sum().clamp(min=1)


def build(config: Mapping[str, Any], picture: Look, text: TextBackbone) -> EiClip:
    """A model with new weights. The base comes first: at one seed its weights are those that it has by itself.

    Raises:
        BadInput: the config does not fit.
    """
    from encoders import architecture

    if config.get("base") not in BASES or not config.get("learner"):
        raise BadInput(f"base {config.get('base')!r}: ei_clip is built around one of {', '.join(BASES)}, and needs a "
                       "part learner", hint="see encoders/configs/ei_clip.json")  # fmt: skip
    model = config["model"]
    rule = [model.get(name, usual) for name, usual in (("loss_on", "pre"), ("ntxent_on", "clean"), ("vectors", "pre"))]
    if rule != ["pre", "clean", "pre"]:
        raise BadInput(f"loss_on, ntxent_on, vectors {', '.join(rule)}: ei_clip needs pre, clean, pre")
    base = architecture(config["base"]).build({**config, "encoder": config["base"]}, picture, text)
    settings, dim = config["learner"], model["dim"]
    learner = None
    if settings["count"]:
        learner = Learner(
            places=settings["count"],
            types=settings["types"],
            dim=dim,
            freeze=settings["freeze_table"],
            **{name: settings[name] for name in ("width", "hidden", "dropout", "dictionary", "gate", "fusion")},
        )
        if learner.tokens and settings["width"] != text.width:
            raise BadInput(f"learner.width {settings['width']}: with fusion tokens it is that of the text model's "
                           f"tokens, {text.width}", field="learner.width")  # fmt: skip
    return EiClip(base, learner, dim=dim, auxiliary=settings["auxiliary"], places=text.places)


def load_encoder(
    folder: Path, *, device: str, cache: Path | None = None, cache_gb: float = 8.0, batch: int = 64
) -> DualEncoder:
    """Opens a checkpoint; see `encoders.load`."""
    return open_dual(build, folder, device=device, cache=cache, cache_gb=cache_gb, batch=batch)
