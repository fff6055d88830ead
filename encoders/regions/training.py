"""Trains the proposal network on composed scenes: their boxes are known, so nobody has to draw any."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders import checkpoint
from encoders.backbones import PictureBackbone, picture_backbone
from encoders.device import choose_device, choose_precision
from encoders.features import FeatureCache, picture_tokens
from encoders.regions.foreground import Cutout
from encoders.regions.maps import feature_maps
from encoders.regions.proposals import ProposalNetwork, Targets, assign, build, proposal_loss, regions_of
from encoders.regions.recall import recall
from encoders.regions.scenes import Opener, Scene, scenes
from kg.errors import BadInput, BadPicture, TooLarge

__all__ = ["CONFIG", "TINY", "DetectorReport", "Progress", "complete", "fit", "train_detector"]

Progress = Callable[[str, int, int, dict[str, float]], None]  # stage ("scenes", "detector"), done, total, figures
LOG, METRICS = "training.jsonl", "metrics.json"
AHEAD = 32  # scenes in one backbone pass, composed while the last ones are computed
CONFIG: dict[str, Any] = {
    "encoder": "proposals",
    "picture": {"backbone": "efficientnet_lite0", "size": 320},
    "network": {"width": 128, "scales": [0.25], "upsample": 1},
    "proposals": {"threshold": 0.5},
    "scenes": {"number": 1000, "held_out": 100, "sizes": [0.06, 0.62]},
    "training": {"epochs": 16, "batch": 32, "rate": 2e-3, "warmup": 0.1, "weight_decay": 0.05, "precision": "auto"},
}
# A few hundred products, in seconds.
TINY: dict[str, Any] = {
    **CONFIG,
    "picture": {"backbone": "efficientnet_lite0", "size": 224},
    "network": {"width": 64, "scales": [0.25], "upsample": 1},
    "scenes": {"number": 240, "held_out": 40, "sizes": [0.06, 0.62]},
    "training": {**CONFIG["training"], "epochs": 16, "batch": 16},
}


@dataclass(frozen=True)
class DetectorReport:
    """What a training of a detector did.

    Attributes:
        folder: of the detector.
        fingerprint: see `encoders.regions.detector`.
        metrics: on held-out scenes, whose products were not pasted in training: `recall@1` … `recall@36`, see
            `encoders.regions.recall`.
        scenes: trained on.
        seconds: of each stage: "scenes" (composed, and their features), "training", "validation".
        unchanged: the folder held this very training already.
    """

    folder: str
    fingerprint: str
    metrics: dict[str, float]
    scenes: int
    seconds: dict[str, float]
    unchanged: bool = False


def train_detector(
    openers: Sequence[Cutout | Opener],
    out: Path,
    *,
    config: Mapping[str, Any] = CONFIG,
    seed: int = 0,
    device: str = "auto",
    cache: FeatureCache | None = None,
    on_progress: Progress = lambda stage, done, total, figures: None,
) -> DetectorReport:
    """Trains a detector and writes its folder: config.json, model.safetensors, fingerprint, training.jsonl,
    metrics.json.

    One product in ten is kept for the held-out scenes (of twenty or fewer: none is, and nothing is measured).

    Args:
        openers: pictures of single products.
        out: the folder; where it holds this very training already, nothing is done.
        config: as `CONFIG`; parts that are missing are taken from there.
        seed: of scenes, weights and order.
        device: auto, cpu, cuda, …
        cache: of the scenes' backbone tokens; None: they are only held in memory.
        on_progress: called with stage, done, total and figures.

    Raises:
        BadInput: fewer than two pictures that can be pasted, or a setting that does not exist.
    """
    chosen, torch_device = complete(config), choose_device(device)
    signature = _signature(chosen, seed, openers)
    if (done := _finished(out, signature)) is not None:
        return done
    backbone = picture_backbone(chosen["picture"]["backbone"], size=chosen["picture"]["size"], device=torch_device)
    rows = np.arange(len(openers))
    apart = rows % 10 == 9 if len(rows) > 20 else np.zeros(len(rows), bool)
    began = time.monotonic()
    learned, tokens = _prepared(
        [openers[i] for i in rows[~apart]], chosen["scenes"]["number"], backbone, chosen, seed, cache, on_progress
    )
    seconds = {"scenes": round(time.monotonic() - began, 1)}
    began = time.monotonic()
    network, log = fit(backbone, tokens, [scene.boxes for scene in learned], chosen, seed, torch_device, on_progress)
    seconds["training"] = round(time.monotonic() - began, 1)
    chosen["picture"]["fingerprint"] = backbone.fingerprint
    chosen["training"] |= {"seed": seed, "signature": signature}
    began, metrics = time.monotonic(), {}
    if apart.any() and chosen["scenes"]["held_out"]:
        held, their_tokens = _prepared(
            [openers[i] for i in rows[apart]], chosen["scenes"]["held_out"], backbone, chosen, seed + 1, None, None
        )
        with torch.inference_mode():
            found = network(feature_maps(backbone, torch.from_numpy(their_tokens).to(torch_device).float()))
        boxes = regions_of(found, [s.image.size for s in held], limit=100, **chosen["proposals"])
        metrics = recall([r.boxes for r in boxes], [s.boxes for s in held])
    seconds["validation"] = round(time.monotonic() - began, 1)
    weights = network.state_dict()
    report = DetectorReport(str(out), checkpoint.fingerprint(chosen, weights), metrics, len(learned), seconds)
    new = out.absolute().with_name(f"{out.absolute().name}.{os.getpid()}.new")
    shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
    new.mkdir(parents=True)
    checkpoint.write_text(new / LOG, "".join(json.dumps(line) + "\n" for line in log))
    checkpoint.write_text(new / METRICS, json.dumps(asdict(report), indent=1))
    checkpoint.write(new, chosen, weights)
    if (done := _finished(out, signature)) is not None:  # another process was faster, and may be reading it
        shutil.rmtree(new)
        return done
    _put(new, out)
    return report


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with what it lacks taken from `CONFIG`.

    Raises:
        BadInput: a part or a setting that does not exist.
    """
    unknown = [key for key in config if key not in CONFIG] + [
        f"{part}.{key}"
        for part, inside in CONFIG.items()
        if isinstance(inside, dict)
        for key in config.get(part, {})
        if key not in inside and key not in ("fingerprint", "seed", "signature")
    ]
    if unknown:
        raise BadInput(f"detector setting {unknown[0]!r} does not exist", hint=f"the parts are {', '.join(CONFIG)}")
    return {
        part: {**inside, **config.get(part, {})} if isinstance(inside, dict) else config.get(part, inside)
        for part, inside in CONFIG.items()
    }


def fit(
    backbone: PictureBackbone,
    tokens: NDArray[np.float16],
    boxes: Sequence[NDArray[np.float32]],
    config: Mapping[str, Any],
    seed: int,
    device: str,
    on_progress: Progress = lambda stage, done, total, figures: None,
) -> tuple[ProposalNetwork, list[dict[str, float]]]:
    """Trains on N pictures.

    Args:
        backbone: what the tokens are of.
        tokens: (N, places, width).
        boxes: (N_i, 4) pixels of the square that the backbone saw.
        config: whole, see `complete`.
        seed: of weights and order.
        device: of torch.
        on_progress: as `train_detector`.

    Returns:
        The network, ready for use, and a line for each epoch.
    """
    settings, size = config["training"], config["picture"]["size"]
    torch.manual_seed(seed)
    network = build(backbone, config["network"]).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings["rate"], weight_decay=settings["weight_decay"])
    batch = min(settings["batch"], len(tokens))
    steps = len(tokens) // batch
    fast = choose_precision(settings["precision"], device) == "bf16"
    places = math.isqrt(backbone.places) * network.finest
    log = []
    for epoch in range(settings["epochs"]):
        began, total = time.monotonic(), 0.0
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(tokens))
        for step in range(steps):
            chunk = np.sort(order[step * batch : (step + 1) * batch])
            mirrored = bool(rng.random() < 0.5)
            maps, shares = _mirrored(
                feature_maps(backbone, torch.from_numpy(tokens[chunk]).to(device).float()),
                [boxes[i] / size for i in chunk],
                mirrored,
            )
            wanted = assign(shares, config["network"]["scales"], places, places)
            with torch.autocast(device.partition(":")[0], torch.bfloat16) if fast else nullcontext():
                found = network(maps)
            loss = proposal_loss(found, Targets(*(part.to(device) for part in wanted)))
            for group in optimiser.param_groups:
                group["lr"] = settings["rate"] * _rate(
                    epoch * steps + step, settings["epochs"] * steps, settings["warmup"]
                )
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            total += loss.item()
        if not math.isfinite(total):
            raise BadInput(f"epoch {epoch + 1}, loss {total / steps}: it must be finite", hint="a lower rate")
        log.append({"epoch": epoch + 1, "loss": total / steps, "seconds": round(time.monotonic() - began, 2)})
        on_progress("detector", epoch + 1, settings["epochs"], {"loss": total / steps})
    return network.eval().requires_grad_(False), log


def _mirrored(
    maps: Sequence[Tensor], shares: Sequence[NDArray[np.float32]], mirrored: bool
) -> tuple[list[Tensor], list[NDArray[np.float32]]]:
    """Features of a mirrored picture are nearly the mirrored features: a second view for nothing."""
    if not mirrored:
        return list(maps), list(shares)
    turned = [np.stack([1 - s[:, 2], s[:, 1], 1 - s[:, 0], s[:, 3]], axis=1) for s in shares]
    return [part.flip(3) for part in maps], turned


def _rate(step: int, steps: int, warmup: float) -> float:
    """Linear from 0 to 1, then half a cosine back to 0."""
    warm = max(1, round(warmup * steps))
    return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(step - warm, 0) / max(steps - warm, 1))))


def _prepared(
    openers: Sequence[Cutout | Opener],
    number: int,
    backbone: PictureBackbone,
    config: Mapping[str, Any],
    seed: int,
    cache: FeatureCache | None,
    on_progress: Progress | None,
) -> tuple[list[Scene], NDArray[np.float16]]:
    """Scenes and their tokens; the next are composed while the backbone works on these."""
    size = config["picture"]["size"]
    source = scenes(openers, number=number, size=size, seed=seed, sizes=tuple(config["scenes"]["sizes"]))
    kept: list[Scene] = []
    tokens = np.empty((number, backbone.places, backbone.width), np.float16)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(_some, source)
        while part := waiting.result():
            waiting = thread.submit(_some, source)
            images = [scene.image for scene in part]
            tokens[len(kept) : len(kept) + len(part)] = picture_tokens(backbone, images, cache=cache, batch=AHEAD)
            kept += part
            if on_progress:
                on_progress("scenes", len(kept), number, {})
    return kept, tokens


def _some(source: Iterator[Scene]) -> list[Scene]:
    return [scene for _, scene in zip(range(AHEAD), source, strict=False)]


def _signature(config: Mapping[str, Any], seed: int, openers: Sequence[Cutout | Opener]) -> str:
    """Of the training: its config, and what it learns from, by some hundred pictures of it."""
    digest = hashlib.sha256(f"{json.dumps(config, sort_keys=True)} {seed} {len(openers)}".encode())
    for source in openers[:: max(1, len(openers) // 200)]:
        try:
            digest.update(source.pixels.tobytes() if isinstance(source, Cutout) else source().tobytes())
        except (BadPicture, TooLarge):  # no scene will show it
            digest.update(b"unreadable")
    return digest.hexdigest()


def _put(new: Path, out: Path) -> None:
    """The finished folder in its place at once; over an older one file by file, the config first away and last there:
    whenever this is cut short, nothing half can be taken for whole."""
    try:
        os.rename(new, out)
    except OSError:  # there is one
        (out / checkpoint.CONFIG).unlink(missing_ok=True)
        for path in sorted(new.iterdir(), key=lambda path: path.name == checkpoint.CONFIG):
            os.replace(path, out / path.name)
        new.rmdir()


def _finished(out: Path, signature: str) -> DetectorReport | None:
    if not (out / "config.json").is_file() or not (out / METRICS).is_file():
        return None
    if checkpoint.read_config(out).get("training", {}).get("signature") != signature:
        return None
    saved = json.loads((out / METRICS).read_text(encoding="utf-8"))
    return DetectorReport(**{**saved, "folder": str(out), "unchanged": True})
