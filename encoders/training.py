"""Trains an encoder on a catalogue: AdamW, cosine schedule, the epoch that did best on validation is kept.

A run that was stopped goes on from its last whole epoch, with the same losses: each epoch draws its order and its
dropout from the seed and its own number. Training again on the same items with the same config changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders import architecture, checkpoint
from encoders.backbones import picture_backbone, text_backbone
from encoders.config import load_config
from encoders.data import TrainItem
from encoders.device import choose_device
from encoders.evaluation.protocols import cross_modal
from encoders.features import FeatureCache
from encoders.tables import Batch, TokenTable, build_table
from kg.errors import BadInput

__all__ = ["Progress", "TrainReport", "Trainable", "train"]

Progress = Callable[[str, int, int, dict[str, float]], None]  # stage ("features", "epochs"), done, total, figures
STATE, LOG, METRICS = "resume.pt", "training.jsonl", "metrics.json"


class Trainable(Protocol):
    """What `build` of an architecture gives: a module of torch with these two methods."""

    def loss(self, batch: Batch) -> Tensor: ...

    def vectors(self, batch: Batch) -> tuple[Tensor, Tensor]: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> object: ...

    def train(self) -> object: ...

    def eval(self) -> object: ...


@dataclass(frozen=True)
class TrainReport:
    """What a training did.

    Attributes:
        folder: the checkpoint.
        encoder: its architecture.
        fingerprint: of the encoder, see `encoders.protocol`.
        epochs: trained.
        best_epoch: the one that was kept, from 1.
        metrics: of that epoch on validation; empty where there are fewer than two validation items.
        train_items, val_items: used.
        skipped: items whose picture could not be read.
        seconds: all together.
        unchanged: the folder held this very training already.
    """

    folder: str
    encoder: str
    fingerprint: str
    epochs: int
    best_epoch: int
    metrics: dict[str, float]
    train_items: int
    val_items: int
    skipped: int
    seconds: float
    unchanged: bool = False


def train(
    encoder: str,
    items: Iterable[TrainItem],
    out: Path,
    *,
    seed: int = 0,
    epochs: int | None = None,
    config: str | Path | None = None,
    device: str = "auto",
    cache: Path | None = None,
    cache_gb: float = 8.0,
    on_progress: Progress = lambda stage, done, total, figures: None,
) -> TrainReport:
    """Trains `encoder` on the training part of `items` and writes a checkpoint folder.

    Args:
        encoder: an architecture of `encoders.ENCODERS`.
        items: read once, in any order; those of the test split are not opened.
        out: the checkpoint folder; a stopped run is continued in it.
        seed: of weights, order and dropout.
        epochs: instead of the config's.
        config: a packaged config or a JSON file; the default is the one named like the encoder.
        device: auto, cpu, cuda, …
        cache: folder of the feature cache; None for no cache.
        cache_gb: its budget.
        on_progress: called with stage, done, total and figures.

    Raises:
        NotFound: no such encoder or config.
        BadInput: fewer than two training items, or a config that does not fit.
    """
    began = time.monotonic()
    chosen = load_config(config or encoder, epochs=epochs)
    if chosen["encoder"] != encoder:
        raise BadInput(f"config {config} is for encoder {chosen['encoder']!r}, not {encoder!r}")
    build, settings = architecture(encoder).build, chosen["training"]
    torch_device = choose_device(device)
    picture = picture_backbone(chosen["picture"]["backbone"], size=chosen["picture"]["size"], device=torch_device)
    text = text_backbone(chosen["text"]["backbone"], places=chosen["text"]["places"], device=torch_device)
    store = FeatureCache.at(cache, cache_gb) if cache and cache_gb > 0 else None
    used = [item for item in items if item.part != "test"]
    out.mkdir(parents=True, exist_ok=True)
    for left in out.glob("tokens-*"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="tokens-", dir=out) as folder:
        table = build_table(
            used,
            picture,
            text,
            Path(folder),
            mirrored=settings["mirrored"],
            cache=store,
            on_progress=lambda done: on_progress("features", done, len(used), {}),
        )
        rows = np.arange(len(table))
        fit, val = rows[table.parts == "train"], rows[table.parts == "val"]
        if len(fit) < 2:
            raise BadInput(f"{len(fit)} items to train on, at least 2 are needed", hint="ingest products with pictures")
        signature = _signature(chosen, seed, table.digest)
        if (done := _finished(out, signature)) is not None:
            return done
        torch.manual_seed(seed)
        model = build(chosen, picture, text).to(torch_device)
        best = _fit(model, table, fit, val, out, settings, seed, signature, torch_device, on_progress)
    chosen["picture"]["fingerprint"], chosen["text"]["fingerprint"] = picture.fingerprint, text.fingerprint
    chosen["training"] |= {"seed": seed, "signature": signature}
    text.save_tokenizer(out / checkpoint.TOKENIZER)
    report = TrainReport(
        str(out),
        encoder,
        checkpoint.fingerprint(chosen, best["model"]),
        settings["epochs"],
        best["epoch"],
        best["metrics"],
        len(fit),
        len(val),
        len(table.skipped),
        round(time.monotonic() - began, 1),
    )
    checkpoint.write_text(out / METRICS, json.dumps(asdict(report), indent=1))
    checkpoint.write(out, chosen, best["model"])
    (out / STATE).unlink(missing_ok=True)
    return report


def _signature(config: dict[str, Any], seed: int, digest: str) -> str:
    return hashlib.sha256(f"{json.dumps(config, sort_keys=True)}{seed}{digest}".encode()).hexdigest()


def _finished(out: Path, signature: str) -> TrainReport | None:
    """The report of a whole checkpoint of the same training."""
    if not (out / "config.json").is_file() or not (out / METRICS).is_file():
        return None
    if checkpoint.read_config(out).get("training", {}).get("signature") != signature:
        return None
    return TrainReport(
        **{**json.loads((out / METRICS).read_text(encoding="utf-8")), "folder": str(out), "unchanged": True}
    )


def _fit(
    model: Trainable,
    table: TokenTable,
    fit: NDArray[np.int64],
    val: NDArray[np.int64],
    out: Path,
    settings: dict[str, Any],
    seed: int,
    signature: str,
    device: str,
    on_progress: Progress,
) -> dict[str, Any]:
    """Trains to the end and gives the best epoch: {"epoch", "metrics", "model": weights}."""
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": settings["weight_decay"]}, {"params": plain, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )
    state: dict[str, Any] = {"epoch": 0, "best": {"epoch": 0, "metrics": {}, "model": {}}, "log": []}
    if (out / STATE).is_file():
        saved = torch.load(out / STATE, map_location=device, weights_only=True)
        if saved["signature"] == signature:
            state = saved
            model.load_state_dict(saved["weights"])
            optimiser.load_state_dict(saved["optimiser"])
    batch = min(settings["batch"], len(fit))
    steps = len(fit) // batch
    for epoch in range(state["epoch"] + 1, settings["epochs"] + 1):
        order = np.random.default_rng([seed, epoch])
        torch.manual_seed(seed * 1_000_003 + epoch)
        shuffled, total, began = order.permutation(fit), 0.0, time.monotonic()
        model.train()
        for step in range(steps):
            rate = _rate((epoch - 1) * steps + step, settings["epochs"] * steps, settings["warmup"])
            for group in optimiser.param_groups:
                group["lr"] = settings["rate"] * rate
            chunk = np.sort(shuffled[step * batch : (step + 1) * batch])  # sorted: the memory map is read in order
            view = int(order.integers(len(table.pictures)))
            loss = model.loss(table.batch(chunk, device, view=view))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(decay + plain, settings["clip"])
            optimiser.step()
            total += loss.item()
        if not math.isfinite(total):
            raise BadInput(f"epoch {epoch}, loss {total / steps}: it must be finite", hint="train with a lower rate")
        try:
            metrics = _validate(model, table, val, device)
        except ValueError as error:
            raise BadInput(f"epoch {epoch}, loss {total / steps}: {error}", hint="train with a lower rate") from error
        state["log"].append({"epoch": epoch, "loss": total / steps, **metrics, "seconds": time.monotonic() - began})
        if not metrics or metrics["mrr"] > state["best"]["metrics"].get("mrr", -1.0):
            weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
            state["best"] = {"epoch": epoch, "metrics": metrics, "model": weights}
        state |= {"epoch": epoch, "signature": signature, "weights": model.state_dict()}
        state["optimiser"] = optimiser.state_dict()
        torch.save(state, out / f"{STATE}.new")
        (out / f"{STATE}.new").replace(out / STATE)
        checkpoint.write_text(out / LOG, "".join(json.dumps(line) + "\n" for line in state["log"]))
        on_progress("epochs", epoch, settings["epochs"], {k: v for k, v in state["log"][-1].items() if k != "epoch"})
    return state["best"]


def _rate(step: int, steps: int, warmup: float) -> float:
    """Linear from 0 to 1, then half a cosine back to 0."""
    warm = max(1, round(warmup * steps))
    return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(step - warm, 0) / max(steps - warm, 1))))


@torch.inference_mode()
def _validate(model: Trainable, table: TokenTable, rows: NDArray[np.int64], device: str) -> dict[str, float]:
    """All validation items against each other, see `cross_modal`; `mrr` is the mean of both ways."""
    if len(rows) < 2:
        return {}
    model.eval()
    parts = [model.vectors(table.batch(rows[start : start + 256], device)) for start in range(0, len(rows), 256)]
    pictures, texts = (torch.cat(side).float().cpu().numpy() for side in zip(*parts, strict=True))
    figures = cross_modal(pictures @ texts.T, table.same(rows, rows))
    return {"mrr": (figures["i2t/MRR"] + figures["t2i/MRR"]) / 2, **figures}
