"""Encoders: pictures and texts into one space. Importing this does not load torch; using it does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders.protocol import Encoder
from kg.errors import NotFound

if TYPE_CHECKING:
    from encoders.graph_encoder import GraphEncoder

# Read when torch allocates first: large tensors in huge pages. On virtual machines, where looking a page up costs much,
# products of matrices wait for memory several times longer without (Linux only).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__all__ = ["ENCODERS", "Encoder", "architecture", "load", "load_graph_encoder", "text_vectors"]

# Name in config.json → module with `build(config, picture, text) -> model` and `load_encoder(folder, …) -> Encoder`.
ENCODERS = {
    "clip_style": "encoders.clip_style",
    "uniter_style": "encoders.uniter_style",
    "capture": "encoders.capture",
    "ege_cmp": "encoders.ege_cmp",
    "ei_clip": "encoders.ei_clip",
}


def load(
    path: Path | str, *, device: str = "auto", cache: Path | None = None, cache_gb: float = 8.0, batch: int = 64
) -> Encoder:
    """Opens a checkpoint folder.

    Args:
        path: the folder; its config names the encoder: one of `ENCODERS`, or "module:function" for one of your own,
            called as `function(folder, device=…, cache=…, cache_gb=…, batch=…)`.
        device: auto, cpu, cuda, cuda:1, mps.
        cache: folder of the feature cache, shared by all encoders and processes; None for no cache.
        cache_gb: its budget; 0 for no cache.
        batch: pictures or texts in one forward pass.

    Raises:
        NotFound: no checkpoint, or an encoder that does not exist.
        BadInput: a broken checkpoint.
        BadSetting: a device that cannot be used.
        EncoderMismatch: a backbone is not the one the checkpoint was trained on, or texts are read in another way.
    """
    from encoders.checkpoint import read_config
    from encoders.device import choose_device

    folder = Path(path)
    name = str(read_config(folder)["encoder"])
    module, _, function = name.partition(":")
    opener = getattr(import_module(module), function) if function else architecture(name).load_encoder
    return opener(
        folder, device=choose_device(device), cache=cache if cache_gb > 0 else None, cache_gb=cache_gb, batch=batch
    )


def architecture(name: str) -> ModuleType:
    """The module that builds and opens an encoder of `ENCODERS`.

    Raises:
        NotFound: there is none of this name.
    """
    if name not in ENCODERS:
        raise NotFound(f"encoder {name!r} does not exist", hint=f"there are {', '.join(ENCODERS)}")
    return import_module(ENCODERS[name])


def load_graph_encoder(path: Path | str, *, device: str = "auto") -> GraphEncoder:
    """Opens what `skugraph gnn` has trained: vectors of entities, and of free texts in the same space.

    Raises:
        NotFound: there is no checkpoint, or it is not whole.
        BadInput: it is broken, or that of another kind of encoder.
        BadSetting: a device that cannot be used.
    """
    from encoders.graph_encoder import GraphEncoder

    return GraphEncoder.load(path, device=device)


def text_vectors(texts: Sequence[str], *, device: str = "auto") -> NDArray[np.float32]:
    """Sentence vectors (N, 384), unit rows, of MiniLM: near for phrases that mean the same. Needs no training."""
    from encoders.sentences import sentence_vectors

    return sentence_vectors(texts, device=device)
