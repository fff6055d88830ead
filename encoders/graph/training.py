"""Training of a graph encoder: one loop for the whole graph at once and for sampled parts of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from encoders.graph import judging
from encoders.graph.adaptive import divergence, neighbourhoods, smoothness
from encoders.graph.config import GraphConfig
from encoders.graph.data import EntityGraph
from encoders.graph.layers import GraphNetwork
from encoders.graph.messages import Adaptive, blended, messages
from encoders.graph.sampling import Neighbours, Part

__all__ = ["Trained", "alone", "build", "infer", "train"]

Progress = Callable[[int, int], None]

CHECKS = 20  # how often a training is judged on the pairs that choose its epoch
ROWS = 20_000  # nodes of one part when all vectors are computed
MOST = 16_384  # pairs, and nodes, in one loss
TEXTS = 2048  # texts in one loss


@dataclass(frozen=True)
class Trained:
    """What a training leaves.

    Attributes:
        network: of the epoch that was best on the pairs held out for choosing.
        vectors: (N, dim) unit rows, with every edge of the graph.
        history: one line for each judgement.
        metrics: of the pairs held out for reporting, beside baselines.
    """

    network: GraphNetwork
    vectors: NDArray[np.float32]
    history: list[dict[str, float]] = field(default_factory=list)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)


def train(
    graph: EntityGraph, config: GraphConfig, *, seed: int, device: str, on_progress: Progress | None = None
) -> Trained:
    """Train on nine tenths of the pairs; half of the rest chooses the epoch, the other half is reported on.

    Equal seeds give equal weights on the same machine. See `encoders.graph_encoder.train_graph_encoder`.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        return _Training(graph, config, seed, device).run(on_progress)


class _Training:
    def __init__(self, graph: EntityGraph, config: GraphConfig, seed: int, device: str) -> None:
        self.graph, self.config, self.device, self.seed = graph, config, device, seed
        self.rng = np.random.default_rng(seed)
        self.count = len(graph.keys)
        self.pairs, self.weights = graph.merged(config.training.merge)
        self.learn, self.choose, self.report = judging.hold_out(self.pairs.shape[1], config.training.held_out, self.rng)
        self.features = functional.normalize(torch.from_numpy(graph.features).float(), dim=-1).to(device)
        self.network = build(config, self.features.shape[1]).to(device)
        self.decoder = nn.Linear(config.model.dim, self.features.shape[1]).to(device)
        self.looped = config.model.kind == "gcn"
        self.blend: Adaptive | None = None
        self.whole = 2 * self.pairs.shape[1] <= config.training.full_edges

    def run(self, on_progress: Progress | None) -> Trained:
        options = self.config.training
        weights = [*self.network.parameters(), *self.decoder.parameters()]
        optimiser = torch.optim.Adam(weights, lr=options.rate, weight_decay=options.weight_decay)
        history: list[dict[str, float]] = []
        best, score = (deepcopy(self.network.state_dict()), self.blend), -1.0
        rounds = min(self.config.adaptive.rounds, options.epochs)
        for epoch in range(options.epochs):
            if (
                self.config.losses.adaptive
                and epoch * rounds // options.epochs != (epoch - 1) * rounds // options.epochs
            ):
                self._rebuild(first=epoch == 0)
            losses = self._epoch(optimiser)
            if on_progress is not None:
                on_progress(epoch + 1, options.epochs)
            if (epoch + 1) % max(options.epochs // CHECKS, 1) and epoch + 1 < options.epochs:
                continue
            judged = judging.judge(self._vectors(self.learn), self.pairs[:, self.choose], self.pairs)
            history.append({"epoch": epoch + 1, **losses, **judged})
            if judged.get("mrr", float(epoch)) > score:  # nothing to choose by: the last
                best, score = (deepcopy(self.network.state_dict()), self.blend), judged.get("mrr", float(epoch))
        self.network.load_state_dict(best[0])
        self.blend = best[1]
        metrics = self._metrics()
        if self.blend is not None:  # the pairs held out are given ones from now on
            self._rebuild(first=False, pairs=np.arange(self.pairs.shape[1]))
        return Trained(self.network.eval(), self._vectors(np.arange(self.pairs.shape[1])), history, metrics)

    def _epoch(self, optimiser: torch.optim.Optimizer) -> dict[str, float]:
        self.network.train()
        options = self.config.training
        order = self.rng.permutation(self.learn)
        hidden = order[: int(len(order) * options.hidden)] if self.config.losses.links else order[:0]
        passing = self._messages(np.setdiff1d(self.learn, hidden))
        sums: dict[str, float] = {}
        steps = 0
        for pairs, rows in self._batches(hidden):
            losses = self._losses(passing, pairs, rows)
            loss = torch.stack([getattr(self.config.losses, name) * value for name, value in losses.items()]).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            steps += 1
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.item()
        return {name: round(value / steps, 5) for name, value in sums.items()}

    def _batches(self, hidden: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Places of pairs to ask for, and nodes, for each step: one step with the whole graph, else several."""
        if self.whole:
            yield hidden[:MOST], self.rng.permutation(self.count)[:MOST]
            return
        size = self.config.training.batch
        nodes = self.rng.permutation(self.count)
        for at in range(max(-(-len(hidden) // size), -(-self.count // size))):
            some = nodes[np.arange(at * size, (at + 1) * size) % self.count] if self.count > size else nodes
            part = hidden[np.arange(at * size, (at + 1) * size) % len(hidden)] if len(hidden) else hidden
            yield part, some

    def _losses(self, passing: Neighbours, pairs: NDArray[np.int64], rows: NDArray[np.int64]) -> dict[str, Tensor]:
        wanted, options, scale = self.config.losses, self.config.training, self.config.training.scale
        sample = self.rng.permutation(self.count)[: options.others]
        ends = self.pairs[:, pairs]
        if self.rng.random() < 0.5:  # both ends ask in turn
            ends = ends[::-1]
        near = self.blend[0][rows] if self.blend is not None else np.zeros((len(rows), 0), np.int64)
        if self.whole:
            part = passing.whole()
        else:
            seeds = np.unique(np.concatenate([ends.ravel(), rows, near.ravel(), sample]))
            part = passing.around(seeds, options.fanouts, self.rng, scaled=self.looped)
        at = np.full(self.count, -1, np.int64)
        at[part.nodes] = np.arange(len(part.nodes))
        x, z = self._forward(part)
        place = {name: torch.from_numpy(at[of]).to(self.device) for name, of in (("rows", rows), ("sample", sample))}
        losses: dict[str, Tensor] = {}
        if wanted.links:
            asking, answers = (torch.from_numpy(at[end]).to(self.device) for end in ends)
            losses["links"] = _ranked(z, asking, answers, place["sample"], scale) if pairs.size else z.sum() * 0
        if wanted.adaptive and self.blend is not None:
            p = torch.from_numpy(self.blend[1][rows]).to(self.device)
            near_at = torch.from_numpy(at[near]).to(self.device)
            kl = divergence(z, place["rows"], near_at, p, place["sample"], self.count, scale)
            ends_at = place["rows"].repeat_interleave(near.shape[1])
            tie = smoothness(z, torch.stack([ends_at, near_at.reshape(-1)]), p.reshape(-1))
            losses["adaptive"] = kl + self.config.adaptive.smooth * tie * len(z) / max(len(rows), 1)
        if wanted.features:
            losses["features"] = (
                1 - functional.cosine_similarity(self.decoder(z[place["rows"]]), x[place["rows"]])
            ).mean()
        if wanted.alone:
            some = place["rows"][:TEXTS]
            own = alone(self.network, x[some])
            losses["alone"] = _ranked(
                torch.cat([z, own]), len(z) + torch.arange(len(own), device=z.device), some, place["sample"], scale
            )
        return losses

    def _forward(self, part: Part) -> tuple[Tensor, Tensor]:
        nodes, edges, weights = (
            torch.from_numpy(array).to(self.device) for array in (part.nodes, part.edges, part.weights)
        )
        x = self.features[nodes]
        return x, functional.normalize(self.network(x, edges, weights), dim=-1)

    def _messages(self, places: NDArray[np.int64]) -> Neighbours:
        return messages(self.pairs[:, places], self.weights[places], self.count, looped=self.looped, blend=self.blend)

    def _rebuild(self, *, first: bool, pairs: NDArray[np.int64] | None = None) -> None:
        """The adaptive graph anew, from the features or from where the vectors are now."""
        places = self.learn if pairs is None else pairs
        z = self.features if first else torch.from_numpy(self._vectors(self.learn)).to(self.device)
        near, p = neighbourhoods(z, self.config.adaptive.k)
        self.blend = blended(near, p, self.pairs[:, places], self.weights[places], self.config.adaptive.given)

    def _vectors(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        return infer(self.network, self.features, self._messages(places), device=self.device)

    def _metrics(self) -> dict[str, dict[str, float]]:
        """Of the network that knows nothing of the pairs held out, beside what needs no training."""
        vectors, features = self._vectors(self.learn), self.features.cpu().numpy()
        mean = judging.smoothed(features, self.pairs[:, self.learn], self.weights[self.learn])
        rivals = {
            "graph": vectors,
            "text": features,
            "text and neighbours": mean,
            "random": judging.random_vectors(self.count, vectors.shape[1]),
        }
        hidden = self.pairs[:, self.report]
        found = {name: judging.judge(rows, hidden, self.pairs) for name, rows in rivals.items()}
        for source, has in self.graph.named(hidden).items():
            found |= {
                f"{n}, {source} edges": judging.judge(rivals[n], hidden[:, has], self.pairs) for n in ("graph", "text")
            }
        places = np.random.default_rng(self.seed).permutation(self.count)[: judging.TEXTS]
        self.network.eval()
        with torch.no_grad():
            own = alone(self.network, self.features[torch.from_numpy(places).to(self.device)]).cpu().numpy()
        found["text finds its entity"] = {"mrr": judging.found_alone(own, vectors, places)}
        return {
            name: {key: round(value, 4) for key, value in values.items()} for name, values in found.items() if values
        }


def build(config: GraphConfig, inside: int) -> GraphNetwork:
    """A network with new weights, from the "model" part of a config."""
    return GraphNetwork(inside=inside, **config.model.model_dump())


def alone(network: GraphNetwork, x: Tensor) -> Tensor:
    """Unit vectors (M, dim) of features (M, inside) that stand in no graph: of free texts, of isolated entities."""
    edges = torch.arange(len(x), device=x.device).expand(2, -1)
    if network.kind != "gcn":  # they have, or need, no loops of their own
        edges = edges[:, :0]
    return functional.normalize(network(x, edges, x.new_ones(edges.shape[1])), dim=-1)


@torch.no_grad()
def infer(network: GraphNetwork, features: Tensor, passing: Neighbours, *, device: str) -> NDArray[np.float32]:
    """Unit vectors (N, dim) of every node with all its edges, layer by layer: memory for a part of the nodes at a time.

    Dropout is off meanwhile.
    """
    training = network.training
    network.eval()
    rng, h = np.random.default_rng(0), features
    for at in range(len(network.layers)):
        parts = []
        for start in range(0, passing.count, ROWS):
            rows = np.arange(start, min(start + ROWS, passing.count))
            part = passing.around(rows, [None], rng)
            nodes, edges, weights = (torch.from_numpy(a).to(device) for a in (part.nodes, part.edges, part.weights))
            parts.append(network.step(at, h[nodes], edges, weights)[: len(rows)])
        h = torch.cat(parts)
    if network.skip is not None:
        h = h + network.skip(features)
    network.train(training)
    return functional.normalize(h, dim=-1).cpu().numpy()


def _ranked(z: Tensor, asking: Tensor, answers: Tensor, sample: Tensor, scale: float) -> Tensor:
    """InfoNCE: each asking row's answer against a sample of all rows, the answer itself and the asking row left out."""
    right = (z[asking] * z[answers]).sum(dim=-1, keepdim=True)
    wrong = z[asking] @ z[sample].T
    wrong = wrong.masked_fill((sample == answers[:, None]) | (sample == asking[:, None]), -torch.inf)
    logits = scale * torch.cat([right, wrong], dim=1)
    return (torch.logsumexp(logits, dim=1) - logits[:, 0]).mean()
