"""Trains an encoder on a catalogue: AdamW, cosine schedule, the epoch that did best on validation is kept.

A run that was stopped goes on from its last whole epoch, with the same losses: each epoch draws its order and its
dropout from the seed and its own number. Training again on the same items with the same config changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders import architecture, checkpoint
from encoders.appending import fitted, reading
from encoders.backbones import TextBackbone, text_backbone
from encoders.backbones.vocabulary import VOCABULARY, learn_vocabulary, warn_unknown
from encoders.config import load_config
from encoders.data import TrainItem, appended
from encoders.device import choose_accelerator, choose_device, choose_precision
from encoders.dual import DETECTOR
from encoders.entities import mask_token
from encoders.evaluation.protocols import cross_modal
from encoders.features import FeatureCache
from encoders.kept import principal
from encoders.known_entities import Known, know_entities
from encoders.looking import make_look
from encoders.masking import Rates
from encoders.preparing import kept_tables, masked, prepare_detector, prepare_mean, prepare_table
from encoders.tables import Batch, TokenTable
from kg.errors import BadInput

__all__ = ["Progress", "TrainReport", "Trainable", "train"]

Progress = Callable[
    [str, int, int, dict[str, float]], None
]  # stage ("scenes", "detector", "features", "epochs"), done, total, figures
STATE, LOG, METRICS = "resume.pt", "training.jsonl", "metrics.json"
SAMPLE = 1024  # training pictures that a model may look at before the first step


class Trainable(Protocol):
    """What `build` of an architecture gives: a module of torch with these.

    Attributes:
        rates: shares of words and regions to hide in each batch; None: it needs no masked batches.
        twins: it needs a second view of each picture (`Batch.twin`).
        initialised: weights that started from a trained model.
    """

    rates: Rates | None
    twins: bool
    initialised: list[nn.Parameter]

    def start(self, pictures: Tensor, mask: Tensor, words: Tensor) -> None:
        """Called once before the first step, with tokens (N, R, W) and mask (N, R) of some training pictures, and the
        ids (M,) of all words of the texts."""
        ...

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of a batch by name; their sum is trained."""
        ...

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
        precision: of the training's products of matrices.
        unknown_words: share of the captions' words that the tokenizer cannot read.
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
    precision: str = "float32"
    unknown_words: float = 0.0


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
    detector: str | Path | None = None,
    tables: Path | None = None,
    on_progress: Progress = lambda stage, done, total, figures: None,
) -> TrainReport:
    """Trains `encoder` on the training part of `items` and writes a checkpoint folder.

    Args:
        encoder: of `encoders.ENCODERS`; without `config` also the name of a packaged one, such as skugraph_base.
        items: read once, in any order; those of the test split are not opened.
        out: the checkpoint folder; a stopped run is continued in it.
        seed: of weights, order and dropout.
        epochs: instead of the config's.
        config: a packaged config or a JSON file; the default is the one named like the encoder.
        device: auto, cpu, cuda, …
        cache: folder of the feature cache; None for no cache.
        cache_gb: its budget.
        detector: a folder or name instead of the config's.
        tables: folder where tables of tokens, and the detectors that configs train, are kept for further trainings.
            Items are then known by id, key, text and split: their pictures are not opened again. None: nothing is kept.
        on_progress: called with stage, done, total and figures.

    Raises:
        NotFound: no such encoder or config.
        BadInput: fewer than two training items, or a config that does not fit.
    """
    began = time.monotonic()
    chosen = load_config(config or encoder, epochs=epochs)
    if config is None:
        encoder = chosen["encoder"]
    elif chosen["encoder"] != encoder:
        raise BadInput(f"config {config} is for encoder {chosen['encoder']!r}, not {encoder!r}")
    build, settings = architecture(encoder).build, chosen["training"]
    torch_device = choose_device(device)
    precision = choose_precision(settings["precision"], torch_device)
    accelerator = choose_accelerator(torch_device, precision)
    if accelerator.num_processes > 1:
        torch_device = str(accelerator.device)
    store = FeatureCache.at(cache, cache_gb) if cache and cache_gb > 0 else None
    used = [item for item in items if item.part != "test"]
    if chosen["text"].get("appended"):
        used = [appended(item) for item in used]
    out.mkdir(parents=True, exist_ok=True)
    captions = [item.text for item in used if item.part == "train"]
    chosen["text"] |= reading(chosen)
    with _vocabulary(chosen["text"]["backbone"], captions, out, accelerator) as tokenizer:
        text = text_backbone(
            chosen["text"]["backbone"],
            places=chosen["text"]["places"],
            device=torch_device,
            tokenizer=tokenizer,
            depth=chosen["text"]["depth"],
        )
    if "learner" in chosen:
        mask_token(text, chosen["learner"]["mask"])  # else refused only when the table is made
    unknown = warn_unknown(text, captions)
    if chosen["text"].get("appended"):
        used = fitted(used, text)
    with kept_tables(tables, out, accelerator) as folder:
        found, source = prepare_detector(
            chosen["detector"] if detector is None else str(detector),
            used,
            folder,
            picture=chosen["picture"],
            device=torch_device,
            cache=store,
            accelerator=accelerator,
            on_progress=on_progress,
            before=out / DETECTOR,
        )
        mean = prepare_mean(used, folder, picture=chosen["picture"], device=torch_device, accelerator=accelerator)
        look = make_look(chosen["picture"], found, device=torch_device, mean=mean, cache=store)
        table = prepare_table(
            used,
            look,
            text,
            folder,
            settings,
            cache=store,
            accelerator=accelerator,
            on_progress=lambda done: on_progress("features", done, len(used), {}),
        )
        rows = np.arange(len(table))
        fit, val = rows[table.parts == "train"], rows[table.parts == "val"]
        if len(fit) < 2:
            raise BadInput(f"{len(fit)} items to train on, at least 2 are needed", hint="ingest products with pictures")
        entities = know_entities(
            chosen, used, table, text, folder, out, seed=seed, cache=store, accelerator=accelerator
        )
        own = bool(source) and Path(source).is_dir()  # it goes into the checkpoint
        name = DETECTOR if own else source
        chosen["detector"] = {"name": name, "fingerprint": found.fingerprint} if found else None
        signature = _signature(chosen, seed, table.digest + entities.digest)
        if (done := _finished(out, signature)) is not None:
            return done
        torch.manual_seed(seed)
        model = build(chosen, look, text)
        knowledge = entities.knowledge(table, fit, chosen, seed=seed, device=torch_device)
        best = _fit(
            _Run(model, table, fit, val, text, out, settings, seed, signature, accelerator, torch_device, knowledge),
            on_progress,
        )
        if chosen.get("kept"):
            seen = table.batch(_sample(fit), "cpu").pictures[:, 0]
            best["model"] |= zip(checkpoint.KEPT, principal(seen, chosen["kept"]["dim"]), strict=True)
        if mean is not None:
            best["model"][checkpoint.MEAN] = torch.from_numpy(mean)
        if accelerator.is_main_process:
            checkpoint.withdraw(out)
            shutil.rmtree(out / DETECTOR, ignore_errors=True)  # of an earlier training
            if own:
                shutil.copytree(source, out / DETECTOR)
    chosen["picture"]["fingerprint"], chosen["text"]["fingerprint"] = look.backbone.fingerprint, text.fingerprint
    chosen["training"] |= {"seed": seed, "signature": signature}
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
        precision=precision,
        unknown_words=round(unknown, 4),
    )
    if accelerator.is_main_process:
        text.save_tokenizer(out / checkpoint.TOKENIZER)
        entities.save(out)
        checkpoint.write_text(out / METRICS, json.dumps(asdict(report), indent=1))
        checkpoint.write(out, chosen, best["model"])
        (out / STATE).unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    return report


@contextmanager
def _vocabulary(backbone: str, captions: Sequence[str], out: Path, accelerator: Accelerator) -> Iterator[str | None]:
    """The folder of a vocabulary of these captions, where that is the backbone. Not that of the checkpoint, which may
    hold an older one: until the new one is written, that is whole."""
    if backbone != VOCABULARY:
        yield None
        return
    folder = out / "vocabulary-of-this-run"
    if accelerator.is_main_process:
        learn_vocabulary(captions, folder)
    accelerator.wait_for_everyone()
    try:
        yield str(folder)
        accelerator.wait_for_everyone()
    finally:
        if accelerator.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)


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


@dataclass(frozen=True)
class _Run:
    """What the epochs of one training share."""

    model: Trainable
    table: TokenTable
    fit: NDArray[np.int64]
    val: NDArray[np.int64]
    text: TextBackbone
    out: Path
    settings: dict[str, Any]
    seed: int
    signature: str
    accelerator: Accelerator
    device: str
    knowledge: Known | None = None


def _sample(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most SAMPLE of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(np.int64)]


def _fit(run: _Run, on_progress: Progress) -> dict[str, Any]:
    """Trains to the end and gives the best epoch: {"epoch", "metrics", "model": weights}."""
    settings, accelerator, out = run.settings, run.accelerator, run.out
    first = run.table.batch(_sample(run.fit), "cpu")
    words = [run.table.words, *([run.knowledge.words()] if run.knowledge else [])]
    run.model.start(first.pictures, first.picture_mask, torch.from_numpy(np.unique(np.concatenate(words))))
    if run.knowledge:
        run.knowledge.begin(run.model)  # type: ignore[arg-type]
    model, optimiser = accelerator.prepare(
        run.model, torch.optim.AdamW(groups(run.model, settings), lr=settings["rate"], betas=(0.9, 0.98), fused=True)
    )
    factors = [group["factor"] for group in optimiser.param_groups]
    state: dict[str, Any] = {"epoch": 0, "best": {"epoch": 0, "metrics": {}, "model": {}}, "log": []}
    if (out / STATE).is_file():
        saved = torch.load(out / STATE, map_location=run.device, weights_only=True)
        if saved["signature"] == run.signature:
            state = saved
            run.model.load_state_dict(saved["weights"])
            optimiser.load_state_dict(saved["optimiser"])
            if run.knowledge:
                run.knowledge.resume(run.model)  # type: ignore[arg-type]
    batch = min(settings["batch"], len(run.fit)) // accelerator.num_processes * accelerator.num_processes
    steps = len(run.fit) // batch
    kind = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
    for epoch in range(state["epoch"] + 1, settings["epochs"] + 1):
        order = np.random.default_rng([run.seed, epoch])  # the same in all processes
        part = run.seed * 1_000_003 + epoch + accelerator.process_index * 7_000_003
        torch.manual_seed(part)
        draw = torch.Generator().manual_seed(part)
        shuffled, began = order.permutation(run.fit), time.monotonic()
        totals: dict[str, float] = {}
        run.model.train()
        for step in range(steps):
            rate = settings["rate"] * _rate((epoch - 1) * steps + step, settings["epochs"] * steps, settings["warmup"])
            for group, factor in zip(optimiser.param_groups, factors, strict=True):
                group["lr"] = rate * factor
            chunk = np.sort(shuffled[step * batch : (step + 1) * batch])  # sorted: the memory map is read in order
            views = order.integers(run.table.views.shape[1], size=batch)
            mine = slice(accelerator.process_index, None, accelerator.num_processes)
            twins = order.integers(run.table.views.shape[1], size=batch)[mine] if run.model.twins else None
            given = run.table.batch(chunk[mine], run.device, views=views[mine], twins=twins, kind=kind)
            if run.knowledge:
                given = run.knowledge.batch(given, chunk[mine], kind, model=run.model, order=order)  # type: ignore[arg-type]
            with accelerator.autocast():
                found = model(masked(given, run.text, run.model.rates, draw))
            loss = torch.stack([part.float() for part in found.values()]).sum()
            optimiser.zero_grad()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), settings["clip"])
            optimiser.step()
            for name, value in {"loss": loss, **found}.items():
                totals[name] = totals.get(name, 0.0) + value.item() / steps
        if not math.isfinite(totals["loss"]):
            raise BadInput(f"epoch {epoch}, loss {totals['loss']}: it must be finite", hint="train with a lower rate")
        if run.knowledge:
            run.knowledge.refresh(run.model)  # type: ignore[arg-type]
        try:
            metrics = _validate(run.model, run.table, run.val, run.device, run.knowledge)
        except ValueError as error:
            raise BadInput(f"epoch {epoch}, loss {totals['loss']}: {error}", hint="train with a lower rate") from error
        state["log"].append({"epoch": epoch, **totals, **metrics, "seconds": time.monotonic() - began})
        if not metrics or metrics["mrr"] > state["best"]["metrics"].get("mrr", -1.0):
            weights = {name: value.detach().clone() for name, value in run.model.state_dict().items()}
            state["best"] = {"epoch": epoch, "metrics": metrics, "model": weights}
        state |= {"epoch": epoch, "signature": run.signature, "weights": run.model.state_dict()}
        state["optimiser"] = optimiser.state_dict()
        if accelerator.is_main_process:
            torch.save(state, out / f"{STATE}.new")
            (out / f"{STATE}.new").replace(out / STATE)
            checkpoint.write_text(out / LOG, "".join(json.dumps(line) + "\n" for line in state["log"]))
            line = {k: v for k, v in state["log"][-1].items() if k != "epoch"}
            on_progress("epochs", epoch, settings["epochs"], line)
        accelerator.wait_for_everyone()
    return state["best"]


def groups(model: Trainable, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The optimiser's groups: matrices decay, biases and norms do not; weights that started from a trained model learn
    at a share ("factor") of the rate. By the weights themselves: names change under wrappers."""
    started = {id(parameter) for parameter in model.initialised}
    found = []
    for decays in (True, False):
        for known, factor in ((False, 1.0), (True, settings["initialised_rate"])):
            parameters = [p for p in model.parameters() if (p.ndim > 1) == decays and (id(p) in started) == known]
            if parameters:
                decay = settings["weight_decay"] if decays else 0.0
                found.append({"params": parameters, "weight_decay": decay, "factor": factor})
    return found


def _rate(step: int, steps: int, warmup: float) -> float:
    """Linear from 0 to 1, then half a cosine back to 0."""
    warm = max(1, round(warmup * steps))
    return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(step - warm, 0) / max(steps - warm, 1))))


@torch.inference_mode()
def _validate(
    model: Trainable,
    table: TokenTable,
    rows: NDArray[np.int64],
    device: str,
    knowledge: Known | None = None,
) -> dict[str, float]:
    """All validation items against each other, see `cross_modal`; `mrr` is the mean of both ways."""
    if len(rows) < 2:
        return {}
    model.eval()
    parts = []
    for start in range(0, len(rows), 256):
        some = rows[start : start + 256]
        batch = table.batch(some, device)
        parts.append(model.vectors(knowledge.batch(batch, some) if knowledge else batch))
    pictures, texts = (torch.cat(side).float().cpu().numpy() for side in zip(*parts, strict=True))
    figures = cross_modal(pictures @ texts.T, table.same(rows, rows))
    return {"mrr": (figures["i2t/MRR"] + figures["t2i/MRR"]) / 2, **figures}
