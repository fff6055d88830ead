"""Configs of graph encoders: JSON files beside this module, or the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from encoders.graph.data import Merge
from kg.errors import BadInput, NotFound

__all__ = ["CONFIGS", "Adaptive", "GraphConfig", "Losses", "Model", "Training", "load_graph_config"]

CONFIGS = Path(__file__).parent / "configs"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Model(_Part):
    """Arguments of `encoders.graph.layers.GraphNetwork`."""

    kind: str = Field(pattern="^(gcn|sage|gat)$")
    hidden: int = Field(ge=1)
    dim: int = Field(ge=1)
    layers: int = Field(default=2, ge=1, le=4)
    heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    skip: bool = True


class Losses(_Part):
    """Weights; 0 leaves a loss out."""

    links: float = Field(default=0.0, ge=0)  # edges hidden for the epoch are nearer than random entities
    adaptive: float = Field(default=0.0, ge=0)  # see `encoders.graph.adaptive`
    features: float = Field(default=0.0, ge=0)  # the features can be read from the vectors
    alone: float = Field(default=0.0, ge=0)  # a text without edges finds its entity


class Adaptive(_Part):
    """Of the adaptive graph; without that loss there is none, and messages pass along given edges only."""

    k: int = Field(default=10, ge=1)
    rounds: int = Field(default=5, ge=1)  # how often it is built anew
    given: float = Field(default=0.5, ge=0, le=1)  # share of the given edges in the weights of a node
    smooth: float = Field(default=0.2, ge=0)


class Training(_Part):
    epochs: int = Field(ge=1)
    rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    scale: float = Field(default=10.0, gt=0)  # sharpness: one over the temperature
    others: int = Field(default=512, ge=1)  # random entities in the losses
    hidden: float = Field(default=0.3, gt=0, lt=1)  # share of the edges that an epoch hides to ask for them
    held_out: float = Field(default=0.1, ge=0, lt=1)  # share of the edges for choosing and reporting
    merge: Merge = "max"  # of the weights of one pair from several sources
    full_edges: int = Field(default=1_000_000, ge=0)  # up to so many, each step sees the whole graph
    batch: int = Field(default=4096, ge=1)  # pairs, and entities, of a step beyond that
    fanouts: tuple[Annotated[int, Field(ge=1)], ...] = (10, 5)  # neighbours drawn at each hop beyond that


class GraphConfig(_Part):
    model: Model
    losses: Losses
    adaptive: Adaptive = Adaptive()
    training: Training

    @model_validator(mode="after")
    def _fits(self) -> GraphConfig:
        if not any(self.losses.model_dump().values()):
            raise ValueError("all losses are 0")
        if self.model.kind == "gat" and self.model.hidden % self.model.heads:
            raise ValueError(f"hidden = {self.model.hidden} must be divisible by heads = {self.model.heads}")
        if len(self.training.fanouts) != self.model.layers:
            raise ValueError(f"fanouts = {self.training.fanouts}: one for each of {self.model.layers} layers")
        return self


def load_graph_config(name: str | Path) -> GraphConfig:
    """A config by the name of a packaged one (gcn, sage, gat), or by the path of a .json file.

    Raises:
        NotFound: there is no such file.
        BadInput: it is not JSON, a part is missing or unknown, or a value is out of range.
    """
    packaged = {file.stem: file for file in CONFIGS.glob("*.json")}
    path = Path(name) if str(name).endswith(".json") else packaged.get(str(name), Path())
    if not path.is_file():
        known = ", ".join(sorted(packaged))
        raise NotFound(
            f"graph config {str(name)!r} does not exist", hint=f"there are {known}, and paths to .json files"
        )
    try:
        return GraphConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "config"
        raise BadInput(
            f"{name}: {where} = {json.dumps(first.get('input'), default=str)[:80]}: {first['msg']}"
        ) from error
