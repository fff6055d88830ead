"""Training configs: JSON files under encoders/configs, or the user's own, with changes by name.

"capture+no_mlm+whole" is the config capture with two changes of encoders/configs/ablations.json, each a table of
paths and values.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kg.errors import BadInput, NotFound, first_refusal

__all__ = ["ABLATIONS", "CONFIGS", "load_config"]

CONFIGS = Path(__file__).parent / "configs"
ABLATIONS = CONFIGS / "ablations.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Picture(_Part):
    backbone: str
    size: int = Field(gt=0)  # pixels
    tokens: Literal["grid", "grid+global", "regions", "cells"] = "grid"  # see `encoders.looking`
    regions: int = Field(default=0, ge=0)  # most of a picture
    cells: int = Field(default=0, ge=0)  # a window has cells x cells parts
    near: int = Field(default=0, ge=0)  # pixels: size at which windows of a picture are seen; 0: `size`
    centred: bool = False  # the mean feature is taken away: see `encoders.regions.features.Sight`


class _Text(_Part):
    backbone: str
    places: int = Field(ge=2)  # tokens
    depth: int | None = Field(default=None, ge=0)  # frozen layers; all of them where left out
    initialise: bool = False  # the layers above them start as those of the text model
    appended: bool = False  # an item's structured entities are said after its text
    bare: float = Field(default=0.0, ge=0, le=1)  # items trained by the title alone nevertheless: see `encoders.titles`


class _Entities(_Part):
    per_item: int = Field(default=15, ge=0)  # most of one text; 0: none, and no graph
    least_df: int = Field(default=2, ge=1)  # captions that an entity stands in, see `kg.mining.mine`
    most_words: int = Field(default=4, ge=1)
    most: int | None = Field(default=20_000, ge=1)  # of the vocabulary
    sources: dict[Literal["text", "cooccurrence", "visual", "memory"], float] = {
        "text": 1.0, "cooccurrence": 1.0, "visual": 1.0, "memory": 1.0,
    }  # weights of the evidence for S: see `encoders.entity_graph`  # fmt: skip
    neighbours: int = Field(default=20, ge=1)
    graph: Literal["nearest", "adaptive", "random"] = "nearest"
    scale: Literal["rank", "absolute"] = "rank"  # thresholds are on shares of the edges, or on S itself
    momentum: float = Field(default=0.0, ge=0, lt=1)  # of the entities' vectors from epoch to epoch
    nodes: int = Field(default=192, ge=2)  # most entities ranked in a step


class _Learner(_Part):
    least_df: int = Field(default=2, ge=1)  # training items that an entity has; what has fewer is UNK
    per_item: int = Field(default=16, ge=1)  # most entities of one text
    score: Literal["mismatch", "drop_in_loss", "random", "all", "none"] = "mismatch"  # see `encoders.confounding`
    rule: Literal["share", "positive"] = "share"
    share: float = Field(default=0.5, ge=0, le=1)  # of each type's entities
    threshold: float = 0.0  # of the score, with the rule "positive"
    ridge: float = Field(default=0.1, ge=0)  # of the pretrained reading, as a share of the texts' mean variance
    sampled: int = Field(default=64, ge=1)  # items of an entity that its drop in loss is taken on
    mask: Literal["remove", "token", "none"] = "remove"  # what becomes of mentions of chosen entities
    none_rate: float = Field(default=0.2, ge=0, le=1)  # items trained without entities, their captions unmasked
    unknown_rate: float = Field(default=0.05, ge=0, le=1)  # entities trained as the UNK of their type
    drop_rate: float = Field(default=0.1, ge=0, le=1)  # entities left away in training
    fusion: Literal["add", "tokens"] = "add"  # entities' vectors join the text's vector, or its tokens
    width: int = Field(default=256, ge=1)  # of the table; with tokens that of the text model's
    hidden: int = Field(default=512, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    dictionary: bool = True
    gate: float = 1.0  # at the start, of the entities' part and of the dictionary's
    auxiliary: float = Field(default=0.0, ge=0)  # weight of the losses that name entities by either vector
    start: str = "random"  # of the table: "random", "text", or the folder of an ege_cmp checkpoint
    freeze_table: bool = False


class _Kept(_Part):
    dim: int = Field(ge=1)  # of the part
    share: float = Field(gt=0, lt=1)  # of a comparison of two pictures


class _Training(_Part):
    epochs: int = Field(ge=1)
    batch: int = Field(ge=2)
    rate: float = Field(gt=0)  # of learning, at its highest
    weight_decay: float = Field(ge=0)
    warmup: float = Field(ge=0, lt=1)  # share of all steps
    clip: float = Field(gt=0)  # largest norm of a gradient
    mirrored: bool
    scenes: int = Field(default=0, ge=0)  # views of an item in composed scenes
    scene_size: int = Field(default=320, gt=0)  # pixels
    precision: Literal["auto", "bf16", "float32"] = "auto"
    initialised_rate: float = Field(default=1.0, gt=0)  # share of the rate for weights that did not start at random


class _Config(_Part):
    encoder: str
    base: str | None = None  # of ei_clip: the encoder that it is built around
    picture: _Picture
    text: _Text
    detector: str | dict[str, Any] | None = None  # a name or folder, or {"train": its settings}
    entities: _Entities | None = None  # of ege_cmp
    learner: _Learner | None = None  # of ei_clip
    kept: _Kept | None = None  # part of the vectors that is not trained, see `encoders.kept`
    model: dict[str, Any]  # each architecture has its own
    training: _Training

    @model_validator(mode="after")
    def _global_token(self) -> Self:
        if self.kept and self.picture.tokens == "grid":
            raise ValueError("kept: it is made of the global token, which picture.tokens = grid has not")
        return self

    @model_validator(mode="after")
    def _titles(self) -> Self:
        if self.text.bare and not self.text.appended:
            raise ValueError("text.bare: without text.appended every item has its title alone")
        if self.text.bare and self.entities:
            raise ValueError("text.bare: entities that are mined from captions know nothing of it")
        return self


def load_config(name: str | Path, *, epochs: int | None = None) -> dict[str, Any]:
    """A config by the name of a packaged one ("capture", "capture+no_mlm"), or by its path (my.json, my.json+whole).

    Args:
        name: the file, or its name in encoders/configs; after a "+" each, names of changes.
        epochs: instead of the file's.

    Raises:
        NotFound: there is no such file, or no such change.
        BadInput: it is not JSON, a part is missing or unknown, or a value is out of range.
    """
    path, changes = _found(str(name))
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        for change in changes:
            for where, value in _known_changes(change).items():
                *parts, last = where.split(".")
                part = config
                for step in parts:
                    part = part[step]
                part[last] = value
        if epochs is not None:
            config["training"]["epochs"] = epochs
        return _without_unused(_Config.model_validate(config).model_dump())
    except ValidationError as error:
        where, refused = first_refusal(error)
        raise BadInput(f"{name}: {refused}", field=where) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{name} is no config: {error!r}", hint="see encoders/configs") from error


def _without_unused(config: dict[str, Any]) -> dict[str, Any]:
    """Parts that only some encoders have are left away where there are none: a training is known by its whole config,
    and those that were made before such a part came are still found."""
    if not config["text"]["appended"]:
        del config["text"]["appended"]
    if not config["text"]["bare"]:
        del config["text"]["bare"]
    return {name: part for name, part in config.items() if part is not None or name == "detector"}


def _found(name: str) -> tuple[Path, list[str]]:
    """The file, and the changes to it. A path may itself hold a "+"."""
    if name.endswith(".json") and Path(name).is_file():
        return Path(name), []
    first, *changes = name.split("+")
    path = Path(first) if first.endswith(".json") else CONFIGS / f"{first}.json"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.json") if file != ABLATIONS))
        raise NotFound(f"encoder config {first!r} does not exist", hint=f"there are {known}, and paths to .json files")
    return path, changes


def _known_changes(name: str) -> dict[str, Any]:
    known = json.loads(ABLATIONS.read_text(encoding="utf-8"))
    if name not in known:
        raise NotFound(f"change {name!r} of a config does not exist", hint=f"there are {', '.join(known)}")
    return known[name]
