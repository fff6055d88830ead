"""`ege_cmp`: CAPTURE with an entity stream and a graph of entities that teaches it (after Dong et al., "EGE-CMP",
TPAMI 2023; papers.md 2). docs/ege_cmp.md says what is reconstructed, and what helped.

    picture ───────────────┐ contrast with the text, and with the entities
    text ─────────┐        │
                  ├─ text output: text + weight · entities (+ weight · the graph's vectors of the entities)
    entity sentence ┘ the same text transformer and head
    single entities ─ the same again: e_i, ranked as the graph says (`encoders.graph_losses`)

Masked parts: text and entities meet in the cross transformer, then text and picture, in the same layers; the joint one
runs over text with picture, and over entities with text. Without entities the model is CAPTURE, to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders import capture
from encoders.backbones import TextBackbone
from encoders.contrast import Output, contrast, unchanged
from encoders.dual import DualEncoder, open_dual
from encoders.graph_losses import Readout, node_ranking, subgraph_ranking
from encoders.knowledge import KNOWN
from encoders.looking import Look
from encoders.masking import Rates
from encoders.parts import hide_tokens, one_of
from encoders.tables import Batch, EntityBatch
from kg.errors import BadInput

__all__ = ["EgeCmp", "build", "load_encoder"]


class EgeCmp(nn.Module):
    """The model.

    Args:
        base: the CAPTURE that it is built around; its contrast must be on clean pre-fusion vectors.
        dim: of a vector.
        entities: E, of the vocabulary; 0: CAPTURE and nothing else.
        image_entity: weight of the contrast of pictures and entity sentences.
        entity_mlm: weight of masked words of entity sentences.
        node, subgraph: weights of the ranking losses; 0 turns one off.
        margin, subgraph_margin: of these.
        positive, negative: S above and below which entities are near and far.
        sample: κ, nodes of a subgraph beside the entity itself.
        hard: far entities drawn for each, of which the nearest counts.
        entity_text: weight of the entity sentence's vector in the text output.
        graph_text: weight of the graph's vector there, the mean over the entities.
        knows: what that is the mean of: the entities' vectors smoothed over the graph ("memory"), without gradient;
            or the evidence that the graph is drawn from ("evidence"), smoothed alike, through a linear map that learns.
        contrasted: which vector meets the picture's: the text output ("output") or that of the text alone ("text").

    Raises:
        ValueError: values that do not fit together.
    """

    memory: Tensor
    known: Tensor

    def __init__(
        self,
        base: capture.Capture,
        *,
        dim: int,
        entities: int,
        image_entity: float = 1.0,
        entity_mlm: float = 1.0,
        node: float = 1.0,
        subgraph: float = 1.0,
        margin: float = 0.2,
        subgraph_margin: float = 0.2,
        positive: float = 0.85,
        negative: float = 0.5,
        sample: int = 4,
        hard: int = 1,
        entity_text: float = 1.0,
        graph_text: float = 0.0,
        knows: str = "memory",
        contrasted: str = "output",
    ) -> None:
        super().__init__()
        one_of("contrasted", contrasted, ("output", "text"))
        one_of("knows", knows, ("memory", "evidence"))
        if entities and (base.loss_on, base.ntxent_on, base.exported) != ("pre", "clean", "pre"):
            raise ValueError("entities need loss_on: pre, ntxent_on: clean, vectors: pre")
        if not negative <= positive:
            raise ValueError(f"negative {negative}, positive {positive}: far must end where near begins, or before")
        self.capture, self.entities = base, entities
        self.weights = {"image_entity": image_entity, "entity_mlm": entity_mlm, "node": node, "subgraph": subgraph}
        self.margin, self.subgraph_margin = margin, subgraph_margin
        self.positive, self.negative, self.sample, self.hard = positive, negative, sample, hard
        self.entity_text, self.graph_text, self.contrasted = entity_text, graph_text, contrasted
        self.readout = Readout(dim) if entities and subgraph else None
        self.register_buffer("memory", torch.zeros(entities, dim))
        self.evidence = bool(entities and graph_text and knows == "evidence")
        self.register_buffer("known", torch.zeros(entities, KNOWN if self.evidence else dim))
        self.tell = nn.Linear(KNOWN, dim, bias=False) if self.evidence else None
        self.rates = base.rates
        if entities and entity_mlm:
            rates = base.rates or Rates(0.0, 0.0)
            self.rates = replace(rates, words=rates.words or Rates.words, entities=True)

    @property
    def item(self) -> str:
        return self.capture.item

    @property
    def item_text(self) -> float:
        return self.capture.item_text

    @property
    def twins(self) -> bool:
        return self.capture.twins

    @property
    def initialised(self) -> list[nn.Parameter]:
        return self.capture.initialised

    @property
    def needs_graph(self) -> bool:
        """Whether a graph of the entities is used at all."""
        return bool(self.entities and (self.weights["node"] or self.weights["subgraph"] or self.graph_text))

    def start(self, pictures: Tensor, mask: Tensor, words: Tensor) -> None:
        self.capture.start(pictures, mask, words)

    def remember(self, vectors: Tensor, momentum: float = 0.0) -> None:
        """Takes the entities' vectors as the encoder has them now, (E, dim)."""
        self.memory = functional.normalize(momentum * self.memory + (1 - momentum) * vectors, dim=-1)

    def know(self, known: Tensor) -> None:
        """Takes what the graph has smoothed: (E, dim), or (E, `KNOWN`) of evidence."""
        self.known = known.to(self.known)

    def entity_vectors(self, nodes: Tensor, mask: Tensor) -> Tensor:
        """Tokens (U, L, V) and mask (U, L) of single entities to e_i, (U, dim), unit rows."""
        return self.capture.text_vectors(nodes, mask)

    def vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, dim) of the lone pictures and of the texts with their entities."""
        pictures = self.picture_vectors(batch.pictures, batch.boxes, batch.picture_mask)
        return pictures, self.text_vectors(batch.texts, batch.text_mask, batch.entities)

    def picture_vectors(self, pictures: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        return self.capture.picture_vectors(pictures, boxes, mask)

    def text_vectors(self, texts: Tensor, mask: Tensor, entities: EntityBatch | None = None) -> Tensor:
        """(B, T, V), (B, T) and their entities to (B, dim), unit rows."""
        found = self.capture.text_vectors(texts, mask)
        if entities is None or not self.entities:
            return found
        said = self.capture.text_vectors(entities.texts, entities.text_mask)
        return self._output(found, said, entities)

    def fused_vectors(self, *tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Post-fusion vectors of items, see `Capture.fused_vectors`; entities have no part in them."""
        return self.capture.fused_vectors(*tokens)

    def forward(self, batch: Batch, output: Output = unchanged) -> dict[str, Tensor]:
        """The losses of a batch by name, weighted; their sum is what is trained. `output`: see `Capture.forward`.

        Raises:
            ValueError: the batch lacks what a loss asks for.
        """
        if not self.entities:
            return self.capture(batch, output)
        if batch.entities is None:
            raise ValueError("the batch has no entities, and the model asks for them: see encoders.knowledge")
        contrasts = self._contrasts(batch, batch.entities, output)
        return {**contrasts, **self._pretexts(batch), **self._rankings(batch.entities)}

    def _contrasts(self, batch: Batch, entities: EntityBatch, output: Output) -> dict[str, Tensor]:
        base, found = self.capture, {}
        regions, words = (base.hide_regions, base.hide_words) if self.training else (0.0, 0.0)
        seen = base.picture_vectors(batch.pictures, batch.boxes, hide_tokens(batch.picture_mask, regions))
        read = base.text_vectors(batch.texts, hide_tokens(batch.text_mask, words))
        said = base.text_vectors(entities.texts, hide_tokens(entities.text_mask, words))
        if base.weights["ntxent"]:
            texts = self._output(read, said, entities) if self.contrasted == "output" else read
            found["ntxent"] = base.contrasted(seen, output(texts), batch)
        if weight := self.weights["image_entity"]:
            # An item without entities has its text for them: the batch stays whole.
            named = torch.where((entities.numbers[:, :1] >= 0), said, read)
            found["image_entity"] = weight * contrast(base.contrast_loss, seen, named, base.scale, batch.identity)
        if base.twins:
            found["views"] = base.contrasted(seen, base.twin(batch), batch, "views")
        return found

    def _pretexts(self, batch: Batch) -> dict[str, Tensor]:
        base = self.capture
        found: dict[str, Tensor] = {}
        if self.rates is None:
            return found
        if batch.masked is None or batch.masked.entities is None:
            raise ValueError("the batch has nothing masked, and the losses ask for it: see encoders.masking")
        part, (sentences, sentence_mask, asked) = batch.masked, batch.masked.entities
        texts = base.text_tokens(part.texts, part.text_mask)
        entities = base.text_tokens(sentences, sentence_mask)
        pictures = base.picture_tokens(part.pictures, part.boxes, part.picture_mask)
        for layer in base.cross_layers:
            entities, texts = layer(entities, sentence_mask, texts, part.text_mask)
        if weight := self.weights["entity_mlm"]:
            last, _ = base.join(entities, sentence_mask, texts, part.text_mask, stream=1)
            found["entity_mlm"] = weight * base.pretext.word_loss(last, replace(part, words=asked))
        if base.weights["mlm"] or base.weights["mrm"]:
            pictures, texts = base.fuse(pictures, part.picture_mask, texts, part.text_mask)
        if weight := base.weights["mlm"]:
            found["mlm"] = weight * base.pretext.word_loss(texts, part)
        if weight := base.weights["mrm"]:
            wanted = part.features * base.picture_entry.scale
            found["mrm"] = weight * base.pretext.region_loss(pictures[part.regions], wanted)
        return found

    def _rankings(self, entities: EntityBatch) -> dict[str, Tensor]:
        if entities.nodes is None or not (self.weights["node"] or self.weights["subgraph"]):
            return {}
        assert entities.node_mask is not None
        assert entities.similar is not None
        vectors, found = self.entity_vectors(entities.nodes, entities.node_mask).float(), {}
        rules: dict[str, Any] = {"high": self.positive, "low": self.negative}
        with torch.autocast(vectors.device.type, enabled=False):  # similarities need the digits
            if weight := self.weights["node"]:
                loss = node_ranking(vectors, entities.similar, margin=self.margin, hard=self.hard, **rules)
                found["node"] = weight * loss
            if weight := self.weights["subgraph"]:
                rules |= {"margin": self.subgraph_margin, "nodes": self.sample}
                assert self.readout is not None
                found["subgraph"] = weight * subgraph_ranking(vectors, entities.similar, self.readout, **rules)
        return found

    def _output(self, read: Tensor, said: Tensor, entities: EntityBatch) -> Tensor:
        """Text output f(text, entities): where there are no entities, the text."""
        there = (entities.numbers >= 0).to(read.dtype)
        total = read + self.entity_text * said * there[:, :1]
        if self.graph_text:
            mean = (self.known[entities.numbers.clamp(min=0)] * there[:, :, None]).sum(dim=1)
            if self.tell is not None:
                mean = self.tell(mean).float()
            total = total + self.graph_text * functional.normalize(mean, dim=-1)
        return functional.normalize(total, dim=-1)


def build(config: Mapping[str, Any], picture: Look, text: TextBackbone) -> EgeCmp:
    """A model with new weights; "entities.count" of the config is the size of the vocabulary.

    Raises:
        BadInput: the config does not fit.
    """
    settings = dict(config["model"])
    own = {name: settings.pop(name) for name in OWN if name in settings}
    base = capture.build({**config, "model": settings}, picture, text)
    try:
        return EgeCmp(base, dim=settings["dim"], entities=config["entities"]["count"], **own)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the model part of the config does not fit: {error}", hint="see encoders/configs") from error


OWN = (
    "image_entity",
    "entity_mlm",
    "node",
    "subgraph",
    "margin",
    "subgraph_margin",
    "positive",
    "negative",
    "sample",
    "hard",
    "entity_text",
    "graph_text",
    "contrasted",
    "knows",
)


def load_encoder(
    folder: Path, *, device: str, cache: Path | None = None, cache_gb: float = 8.0, batch: int = 64
) -> DualEncoder:
    """Opens a checkpoint; see `encoders.load`."""
    return open_dual(build, folder, device=device, cache=cache, cache_gb=cache_gb, batch=batch)
