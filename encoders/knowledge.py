"""What a training knows of entities: those of its items, and the graph of them, drawn anew after every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from encoders import entity_graph
from encoders.entities import NONE, EntityTable
from encoders.tables import Batch, EntityBatch, TokenTable
from kg.errors import BadInput

__all__ = ["KNOWN", "Knowing", "Knowledge"]

KNOWN = 128  # width of the evidence that a model may read
CHUNK = 512  # entities in one pass


class Knowing(Protocol):
    """What the graph needs of a model.

    Attributes:
        memory: (E, dim) vectors of the entities, as they were last remembered.
        positive: S above which entities are near.
        needs_graph: whether it uses a graph at all.
        evidence: whether it reads the evidence, not the memory, as the graph has smoothed it.
    """

    memory: Tensor
    positive: float
    needs_graph: bool
    evidence: bool

    def entity_vectors(self, nodes: Tensor, mask: Tensor) -> Tensor: ...

    def remember(self, vectors: Tensor, momentum: float) -> None: ...

    def know(self, known: Tensor) -> None: ...

    def eval(self) -> object: ...


class Knowledge:
    """Gives each batch its entities.

    Args:
        entities: of the table's rows.
        table: of the training.
        fit: rows of the training items: all evidence is theirs.
        settings: "entities" of the config.
        seed: of the random graph.
        device: of torch.
    """

    def __init__(
        self,
        entities: EntityTable,
        table: TokenTable,
        fit: NDArray[np.int64],
        settings: Mapping[str, Any],
        *,
        seed: int,
        device: str,
    ) -> None:
        self.entities, self.settings, self.seed, self.device = entities, settings, seed, device
        wanted = {name: weight for name, weight in settings["sources"].items() if weight}
        self.parts = {name: entity_graph.evidence(name, entities, table, fit) for name in wanted if name != "memory"}
        self.graph: sparse.csr_matrix | None = None
        self.rows: NDArray[np.float32] | None = None  # of the evidence, as a model may read it

    def words(self) -> NDArray[np.int64]:
        """Ids of all words of the entity sentences."""
        return np.unique(self.entities.words)

    def begin(self, model: Knowing) -> None:
        """Before the first epoch the model may read evidence; it is ranked by a graph from the second one on."""
        if model.needs_graph and model.evidence:
            self._tell(model, self._drawn(model))

    def _drawn(self, model: Knowing) -> sparse.csr_matrix:
        """The graph from the evidence and the model's memory; that is the same after a training goes on."""
        parts = dict(self.parts)
        if self.settings["sources"].get("memory") and bool(model.memory.any()):
            memory = model.memory.float().cpu().numpy()
            parts["memory"] = entity_graph.unit(memory - memory.mean(axis=0))
        if not parts:
            raise BadInput(f"entities.sources {self.settings['sources']}: one beside memory must have a weight")
        rows = entity_graph.combined(parts, self.settings["sources"])
        if self.settings["graph"] == "adaptive":
            from encoders.graph_encoder import adaptive_graph

            rows = entity_graph.unit(np.asarray(adaptive_graph(rows, k=self.settings["neighbours"])[2], np.float32))
        graph = entity_graph.nearest(rows, self.settings["neighbours"])
        if self.settings["graph"] == "random":
            graph = entity_graph.rewired(graph, seed=self.seed)
        if self.settings["scale"] == "rank" and graph.nnz:
            graph.data = (np.argsort(np.argsort(graph.data, kind="stable"), kind="stable") + 1) / graph.nnz
            graph = graph.maximum(graph.T).tocsr()  # equal weights of one pair have two ranks
        return graph.astype(np.float32)

    def _tell(self, model: Knowing, graph: sparse.csr_matrix) -> None:
        if model.evidence:
            if self.rows is None:
                self.rows = entity_graph.reduced(entity_graph.combined(self.parts, self.settings["sources"]), KNOWN)
            known = entity_graph.smoothed(self.rows, graph)
        else:
            known = entity_graph.smoothed(model.memory.float().cpu().numpy(), graph)
        model.know(torch.from_numpy(known))

    @torch.no_grad()
    def refresh(self, model: Knowing) -> None:
        """After an epoch: the model reads all entities, remembers them, and the graph is drawn from that."""
        if not model.needs_graph:
            return
        model.eval()
        parts = np.split(np.arange(len(self.entities.vocabulary)), range(CHUNK, len(self.entities.vocabulary), CHUNK))
        vectors = [model.entity_vectors(*self.entities.of(part, self.device, torch.float32)) for part in parts]
        found = torch.cat(vectors).float()
        first = not bool(model.memory.any())
        model.remember(found, 0.0 if first else self.settings["momentum"])
        self.graph = self._drawn(model)
        self._tell(model, self.graph)

    def resume(self, model: Knowing) -> None:
        """The graph of a training that goes on, from the memory it was saved with."""
        if model.needs_graph and bool(model.memory.any()):
            self.graph = self._drawn(model)

    def batch(
        self,
        given: Batch,
        rows: NDArray[np.int64],
        kind: torch.dtype = torch.float32,
        *,
        model: Knowing | None = None,
        order: np.random.Generator | None = None,
    ) -> Batch:
        """The batch of these rows with its entities; in training (`order`) also with nodes of the graph."""
        numbers = self.entities.items[rows]
        part = EntityBatch(*self.entities.sentences(rows, self.device, kind), torch.from_numpy(numbers).to(self.device))
        if order is not None and self.graph is not None and model is not None:
            nodes = self._sampled(numbers, order, model.positive)
            tokens, mask = self.entities.of(nodes, self.device, kind)
            similar = torch.from_numpy(entity_graph.block(self.graph, nodes)).to(self.device)
            part = replace(part, nodes=tokens, node_mask=mask, similar=similar)
        return replace(given, entities=part)

    def _sampled(self, numbers: NDArray[np.int64], order: np.random.Generator, high: float) -> NDArray[np.int64]:
        """Numbers of at most `nodes` entities: half of them of the batch, each with one that is near it."""
        assert self.graph is not None
        there = np.unique(numbers[numbers != NONE])
        anchors = order.permutation(there)[: max(self.settings["nodes"] // 2, 1)]
        beside = []
        for anchor in anchors:
            row = slice(self.graph.indptr[anchor], self.graph.indptr[anchor + 1])
            near = self.graph.indices[row][self.graph.data[row] > high]
            if len(near):
                beside.append(int(near[order.integers(len(near))]))
        return np.unique(np.concatenate([anchors, np.array(beside, np.int64)])).astype(np.int64)
