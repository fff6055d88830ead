"""Vectors of entities that know the graph: train a network on it, keep what it gives, find entities by free text.

A checkpoint is a folder as every encoder's (see `encoders.checkpoint`), with `entities.jsonl` beside: a line for each
row of the vectors, which lie among the weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from encoders import checkpoint
from encoders.device import choose_device
from encoders.graph.adaptive import adaptive_graph
from encoders.graph.config import GraphConfig, load_graph_config
from encoders.graph.data import EntityGraph
from encoders.graph.layers import GraphNetwork
from encoders.graph.training import alone, build, train
from encoders.sentences import sentence_vectors
from kg.errors import BadInput, BadVector

__all__ = ["EntityGraph", "GraphEncoder", "adaptive_graph", "load_graph_encoder", "task_of", "train_graph_encoder"]

ENTITIES, METRICS = "entities.jsonl", "metrics.json"
VECTORS = "vectors"  # among the weights
BATCH = 4096  # texts at a time


@dataclass(frozen=True)
class GraphEncoder:
    """A trained network, and the vectors that it gave the entities of one graph.

    Attributes:
        name: kind of the network.
        fingerprint: hash over config, weights and vectors; equal fingerprints give equal vectors.
        keys: of the N entities.
        types: of each.
        vectors: (N, dim) float32, unit rows.
        config: as it was trained with.
        task: what it was trained on and how, see `task_of`.
        metrics: on pairs that the training did not see, beside baselines.
        history: of the training.
        device: of torch.
    """

    network: GraphNetwork
    keys: Sequence[str]
    types: Sequence[str]
    vectors: NDArray[np.float32]
    config: GraphConfig
    inside: int
    task: str
    device: str = "cpu"
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.config.model.kind

    @property
    def dim(self) -> int:
        return self.config.model.dim

    @property
    def fingerprint(self) -> str:
        return checkpoint.fingerprint(self._described(), self._weights())

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(M, dim), unit rows, near to the vectors of entities that are called so or stand close to those.

        A text is taken for an entity without any edge.
        """
        return self.encode_features(sentence_vectors(texts, device=self.device))

    @torch.no_grad()
    def encode_features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `encode_texts`, of the texts' own vectors (M, F).

        Raises:
            BadVector: another width than that of the entities' features.
        """
        if features.ndim != 2 or features.shape[1] != self.inside:
            raise BadVector(f"features of shape {features.shape}: this graph encoder takes (M, {self.inside})")
        x = functional.normalize(torch.from_numpy(features).float(), dim=-1)
        parts = [alone(self.network, part.to(self.device)).cpu().numpy() for part in x.split(BATCH) if len(part)]
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write a checkpoint; one that was there is replaced, and never taken for whole half-way."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / checkpoint.CONFIG).unlink(missing_ok=True)
        lines = (json.dumps([key, type], ensure_ascii=False) for key, type in zip(self.keys, self.types, strict=True))
        checkpoint.write_text(folder / ENTITIES, "".join(f"{line}\n" for line in lines))
        checkpoint.write_text(folder / METRICS, json.dumps(self.metrics, indent=1))
        checkpoint.write_text(folder / "training.jsonl", "".join(f"{json.dumps(line)}\n" for line in self.history))
        checkpoint.write(folder, self._described(), self._weights())

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto") -> GraphEncoder:
        """Opens a checkpoint.

        Raises:
            NotFound: there is none, or it is not whole.
            BadInput: it is broken, or that of another kind of encoder.
            BadSetting: a device that cannot be used.
        """
        folder = Path(folder)
        described, weights = checkpoint.read(folder)
        if described["encoder"] != "graph":
            raise BadInput(f"{folder} holds an encoder {described['encoder']!r}, not one of entities of a graph")
        try:
            lines = (folder / ENTITIES).read_text(encoding="utf-8").split("\n")
            entities = [json.loads(line) for line in lines if line]
            config = GraphConfig.model_validate_json(json.dumps(described["config"]))
            vectors, where = weights.pop(VECTORS).numpy(), choose_device(device)
            network = build(config, described["inside"])
            network.load_state_dict(weights)
            if len(entities) != len(vectors):
                raise ValueError(f"{len(entities)} entities and {len(vectors)} vectors")
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise BadInput(f"{folder} is broken: {error}", hint="`skugraph gnn` makes it anew") from error
        return cls(
            network.to(where).eval(),
            [key for key, _ in entities],
            [type for _, type in entities],
            vectors,
            config,
            described["inside"],
            described["task"],
            where,
            json.loads((folder / METRICS).read_text(encoding="utf-8")) if (folder / METRICS).is_file() else {},
        )

    def _described(self) -> dict[str, Any]:
        return {"encoder": "graph", "config": self.config.model_dump(), "inside": self.inside, "task": self.task}

    def _weights(self) -> dict[str, Tensor]:
        return {**self.network.state_dict(), VECTORS: torch.from_numpy(self.vectors)}


def train_graph_encoder(
    graph: EntityGraph,
    config: GraphConfig | str | Path,
    *,
    seed: int = 0,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> GraphEncoder:
    """Train a network on the entity graph. Equal seeds give equal vectors on the same machine.

    Args:
        graph: as it was exported; it may have no edges.
        config: one, or as `load_graph_config` takes it.
        seed: of all that is random.
        device: auto, cpu, cuda, cuda:1, mps.
        on_progress: called with how many of how many epochs are done; what it raises ends the training.

    Raises:
        NotFound, BadInput: see `load_graph_config`.
        BadSetting: a device that cannot be used.
    """
    found = config if isinstance(config, GraphConfig) else load_graph_config(config)
    where = choose_device(device)
    trained = train(graph, found, seed=seed, device=where, on_progress=on_progress)
    return GraphEncoder(
        trained.network,
        list(graph.keys),
        list(graph.types),
        trained.vectors,
        found,
        graph.features.shape[1],
        task_of(graph, found, seed),
        where,
        trained.metrics,
        trained.history,
    )


def task_of(graph: EntityGraph, config: GraphConfig, seed: int) -> str:
    """A hash over all that decides what a training gives, but for the machine."""
    what = json.dumps([graph.digest, config.model_dump(), seed], sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()


def load_graph_encoder(folder: Path | str, *, device: str = "auto") -> GraphEncoder:
    """As `GraphEncoder.load`."""
    return GraphEncoder.load(folder, device=device)
