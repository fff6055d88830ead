"""A checkpoint is a folder: what an encoder needs, what it was trained on, and how well it did.

config.json         architecture, backbones and their fingerprints, training settings
model.safetensors   trained weights
tokenizer/          as transformers saves it
fingerprint         of the encoder
training.jsonl      one line an epoch
metrics.json        of the epoch that was kept, on validation
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from encoders.backbones.base import weights_hash
from kg.errors import BadInput, NotFound

__all__ = [
    "FINGERPRINT",
    "KEPT",
    "MEAN",
    "TOKENIZER",
    "fingerprint",
    "read",
    "read_config",
    "withdraw",
    "write",
    "write_text",
]

MEAN = "look.mean"  # among the weights: what is taken away from features, see `encoders.regions.features.Sight`
KEPT = ("kept.weight", "kept.bias")  # likewise: see `encoders.kept`
CONFIG, WEIGHTS, FINGERPRINT, TOKENIZER = "config.json", "model.safetensors", "fingerprint", "tokenizer"


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a checkpoint.

    Raises:
        NotFound: there is no such file.
        BadInput: it is no JSON object with an "encoder".
    """
    path = folder / CONFIG
    if not path.is_file():
        raise NotFound(f"{folder} is no encoder: it has no {CONFIG}", hint="`skugraph train` writes one")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("encoder"), str):
        raise BadInput(f'{path}: "encoder" must name the architecture')
    return config


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and weights.

    Raises:
        NotFound: as `read_config`, or the weights are missing.
        BadInput: as `read_config`, or the weights file is broken.
    """
    config, weights = read_config(folder), folder / WEIGHTS
    if not weights.is_file():
        raise NotFound(f"{folder} is no whole encoder: it has no {WEIGHTS}", hint="train it again")
    try:
        return config, load_file(weights)
    except SafetensorError as error:
        raise BadInput(f"{weights} is broken: {error}", hint="train it again") from error


def withdraw(folder: Path) -> None:
    """Takes the config of an older checkpoint away, before anything of a new one is written: whenever that is cut
    short, old and new are not taken for one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)


def write(folder: Path, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Weights first, config last: a folder with a config is whole."""
    withdraw(folder)
    new = folder / f"{WEIGHTS}.new"
    save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, new)
    os.replace(new, folder / WEIGHTS)
    write_text(folder / FINGERPRINT, fingerprint(config, weights))
    write_text(folder / CONFIG, json.dumps(config, indent=1, ensure_ascii=False))


def fingerprint(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """Hash over all that the vectors depend on; how the training went is left out."""
    what = {key: value for key, value in config.items() if key != "training"}
    text = json.dumps(what, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(f"{text}{weights_hash(weights)}".encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Replaces a file at once."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)
