"""What stands before the steps of a training: the detector, the table of tokens, and each batch with parts hidden."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from encoders import checkpoint
from encoders.backbones import TextBackbone, picture_backbone
from encoders.data import TrainItem
from encoders.entities import EntityTable, build_entities, kept_items, learn_entities, open_entities
from encoders.features import FeatureCache
from encoders.looking import Look
from encoders.masking import IGNORED, Masked, Rates, mask_regions, mask_words
from encoders.regions.detector import Detector, load_detector
from encoders.regions.features import mean_feature
from encoders.regions.training import Progress as DetectorProgress
from encoders.regions.training import complete, train_detector
from encoders.tables import FACTS, Batch, EntityBatch, TokenTable, build_table, open_table, told
from kg.errors import BadInput, BadPicture, TooLarge
from kg.home import locked

__all__ = [
    "alone",
    "kept_tables",
    "masked",
    "prepare_detector",
    "prepare_entities",
    "prepare_mean",
    "prepare_table",
    "whole_folder",
]

RECIPE = "recipe"  # of a detector that was trained here: what it was trained on, and how
MEAN_OF = 512  # pictures are enough for a mean
TOGETHER = 32  # texts in one pass


@contextmanager
def kept_tables(tables: Path | None, out: Path, accelerator: Accelerator) -> Iterator[Path]:
    """The folder for tables: the one given, or one in `out` that is gone afterwards."""
    if tables:
        tables.mkdir(parents=True, exist_ok=True)
        yield tables
        return
    folder = out / "tokens-of-this-run"
    if accelerator.is_main_process:
        for left in out.glob("tokens-*"):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        folder.mkdir(parents=True)
    accelerator.wait_for_everyone()
    try:
        yield folder
    finally:
        if accelerator.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)


def prepare_detector(
    wanted: str | Mapping[str, Any] | None,
    items: Sequence[TrainItem],
    tables: Path,
    *,
    picture: Mapping[str, Any],
    device: str,
    cache: FeatureCache | None,
    accelerator: Accelerator,
    on_progress: DetectorProgress,
    before: Path | None = None,
) -> tuple[Detector | None, str]:
    """The detector of a config, and the folder or name it was opened from; it is trained on the training items where
    the config says so.

    Args:
        wanted: a name or folder; {"train": its settings}; None: no detector.
        items: those of the training split are trained on.
        tables: a detector that is trained is kept here.
        picture: of the config; a detector over the same backbone at the same size shares its tokens.
        device: of torch.
        cache: of tokens.
        accelerator: of several processes the first trains.
        on_progress: told stage, done, total and figures.
        before: a folder where an earlier training has left its detector; the same one is not trained again.

    Raises:
        BadInput: a table without "train".
    """
    if wanted is None or isinstance(wanted, str):
        return (load_detector(wanted, device=device), wanted) if wanted else (None, "")
    if set(wanted) != {"train"}:
        raise BadInput(f"detector {dict(wanted)}: a name, a folder, or a table whose one key is train")
    fit = [item for item in items if item.part == "train"]
    settings = dict(wanted["train"])
    if picture["tokens"] in ("regions", "cells"):
        size = picture["near"] or picture["size"]
        settings["picture"] = {"backbone": picture["backbone"], "size": size, **settings.get("picture", {})}
    settings = complete(settings)  # whatever a config leaves out: equal detectors have one name
    what = json.dumps([settings, [(item.id, item.key) for item in fit]], sort_keys=True)
    recipe = hashlib.sha256(what.encode()).hexdigest()[:20]
    folder = tables / f"detector-{recipe}"
    with alone(tables, accelerator) as mine:
        if mine and not (folder / checkpoint.FINGERPRINT).is_file():
            if before and (before / RECIPE).is_file() and (before / RECIPE).read_text(encoding="utf-8") == recipe:
                shutil.rmtree(folder, ignore_errors=True)  # begun, and not whole
                with whole_folder(folder) as new:
                    shutil.copytree(before, new, dirs_exist_ok=True)
            else:
                openers = [item.open_picture for item in fit]
                train_detector(openers, folder, config=settings, device=device, cache=cache, on_progress=on_progress)
                (folder / RECIPE).write_text(recipe, encoding="utf-8")
    accelerator.wait_for_everyone()
    return load_detector(folder, device=device), str(folder)


def prepare_mean(
    items: Sequence[TrainItem], tables: Path, *, picture: Mapping[str, Any], device: str, accelerator: Accelerator
) -> NDArray[np.float32] | None:
    """`Sight.mean` of the training pictures, kept in `tables`; None where the config does not ask for it.

    Raises:
        BadInput: none of the pictures can be read.
    """
    if not picture["centred"] or picture["tokens"] not in ("regions", "cells"):
        return None
    fit = [item for item in items if item.part == "train"]
    chosen = [fit[i] for i in np.unique(np.linspace(0, len(fit) - 1, min(len(fit), MEAN_OF)).astype(int))]
    backbone = picture_backbone(picture["backbone"], size=picture["size"], device=device)
    what = json.dumps([backbone.fingerprint, [(item.id, item.key) for item in chosen]])
    path = tables / f"mean-{hashlib.sha256(what.encode()).hexdigest()[:20]}.npy"
    with alone(tables, accelerator) as mine:
        if mine and not path.is_file():
            images = []
            for item in chosen:
                with suppress(BadPicture, TooLarge):  # the table names them
                    images.append(item.open_picture().convert("RGB").resize((picture["size"],) * 2))
            if not images:
                raise BadInput("none of the training pictures can be read")
            new = path.with_suffix(f".{os.getpid()}.npy")
            np.save(new, mean_feature(backbone, images))
            os.replace(new, path)
    accelerator.wait_for_everyone()
    return np.load(path)


def prepare_table(
    items: Sequence[TrainItem],
    look: Look,
    text: TextBackbone,
    tables: Path,
    settings: Mapping[str, Any],
    *,
    cache: FeatureCache | None,
    accelerator: Accelerator,
    on_progress: Callable[[int], None],
) -> TokenTable:
    """The table of these items in `tables`, made where it is missing; of several processes the first makes it."""
    views = {name: settings[name] for name in ("mirrored", "scenes", "scene_size")}
    digest = hashlib.sha256(json.dumps([look.fingerprint, text.fingerprint, views], sort_keys=True).encode())
    for item in items:
        digest.update(told(item))
    folder = tables / f"table-{digest.hexdigest()[:20]}"
    with alone(tables, accelerator) as mine:
        if mine and not (folder / FACTS).is_file():
            for left in tables.glob("new-*"):
                if not psutil.pid_exists(int(left.name.split("-")[1])):  # its maker was killed
                    shutil.rmtree(left, ignore_errors=True)
            with whole_folder(folder) as new:
                build_table(items, look, text, new, cache=cache, on_progress=on_progress, **views)
    accelerator.wait_for_everyone()
    return open_table(folder)


def prepare_entities(
    items: Sequence[TrainItem],
    table: TokenTable,
    text: TextBackbone,
    tables: Path,
    settings: Mapping[str, Any],
    *,
    cache: FeatureCache | None,
    accelerator: Accelerator,
) -> EntityTable:
    """The entities of a table's items, mined from the captions of its training part; kept in `tables` beside it."""
    kept = kept_items(items, table)
    vocabulary = learn_entities([item.text for item in kept if item.part == "train"], settings)
    what = f"{table.digest}{vocabulary.fingerprint}{text.fingerprint}"
    folder = tables / f"entities-{hashlib.sha256(what.encode()).hexdigest()[:20]}"
    with alone(tables, accelerator) as mine:
        if mine and not (folder / FACTS).is_file():
            with whole_folder(folder) as new:
                build_entities(vocabulary, [item.text for item in kept], text, new, cache=cache)
    accelerator.wait_for_everyone()
    return open_entities(folder)


def masked(batch: Batch, text: TextBackbone, rates: Rates | None, draw: torch.Generator) -> Batch:
    """The batch with parts hidden beside it; without, where nothing is asked for.

    Raises:
        BadInput: words are to be hidden, and the tokenizer has no word for that.
    """
    if rates is None:
        return batch
    part = _some(batch, rates.items, draw)
    texts, targets = part.texts, torch.full_like(part.words, IGNORED)
    if rates.words:
        if text.mask_id is None:
            raise BadInput("model.mlm: the text backbone's tokenizer has no mask token", hint="set model.mlm to 0")
        ordinary = torch.zeros(len(text.words), dtype=torch.bool, device=part.words.device)
        ordinary[text.vocabulary.to(ordinary.device)] = True
        candidates = part.text_mask & ordinary[part.words]
        words, targets = mask_words(part.words, candidates, text.vocabulary, text.mask_id, rate=rates.words, draw=draw)
        texts = _read_again(text, texts, part.text_mask, words, changed=(words != part.words).any(dim=1))
    entities = None
    if part.entities is not None:
        entities = _masked_sentences(part.entities, text, targets, hidden=rates.entities)
    pictures, regions = mask_regions(part.pictures, part.picture_mask, rate=rates.regions, draw=draw)
    return replace(
        batch,
        masked=Masked(
            texts=texts,
            text_mask=part.text_mask,
            words=targets,
            pictures=pictures,
            boxes=part.boxes,
            picture_mask=part.picture_mask,
            regions=regions,
            features=part.pictures[regions],
            identity=part.identity,
            entities=entities,
        ),
    )


def _masked_sentences(
    part: EntityBatch, text: TextBackbone, asked: Tensor, *, hidden: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, mask and asked words of entity sentences. Hidden are the very words that are asked for (B, T) in the
    texts: were they drawn anew, either stream would tell what the other hides."""
    nothing = torch.full_like(part.words, IGNORED)
    if not hidden or text.mask_id is None:
        return part.texts, part.text_mask, nothing
    chosen = (part.words[:, :, None] == asked[:, None, :]).any(dim=2) & part.text_mask
    words = torch.where(chosen, text.mask_id, part.words)
    texts = _read_again(text, part.texts, part.text_mask, words, changed=chosen.any(dim=1))
    return texts, part.text_mask, torch.where(chosen, part.words, nothing)


@contextmanager
def alone(tables: Path, accelerator: Accelerator) -> Iterator[bool]:
    """Whether this process is the one of its training that makes what is missing; trainings that share a folder wait
    for each other, so that none makes what another is about to have made."""
    if not accelerator.is_main_process:
        yield False
        return
    with locked(tables / "making.lock", timeout_s=math.inf):
        yield True


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside, which becomes this one at the end; where that is not reached, nothing is left."""
    new = Path(tempfile.mkdtemp(prefix=f"new-{os.getpid()}-", dir=folder.parent))
    try:
        yield new
        os.rename(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _read_again(text: TextBackbone, texts: Tensor, mask: Tensor, words: Tensor, *, changed: Tensor) -> Tensor:
    """Tokens (B, T, V) of the frozen text model, new where the words have changed. Texts of like length share a pass:
    less padding to compute."""
    texts, lengths = texts.clone(), mask.sum(dim=1)
    rows = changed.nonzero()[:, 0]
    for some in rows[lengths[rows].argsort(stable=True)].split(TOGETHER) if len(rows) else ():
        longest = int(lengths[some].max())
        found = text.hidden(words[some, :longest], mask[some, :longest])
        texts[some, :longest] = found.to(texts.dtype)
    return texts


def _some(batch: Batch, share: float, draw: torch.Generator) -> Batch:
    """A share of the items, at least one, drawn at random."""
    if share >= 1:
        return batch
    count = len(batch.identity)
    rows = torch.randperm(count, generator=draw)[: max(1, round(share * count))].sort().values
    rows = rows.to(batch.identity.device)
    names = ("pictures", "boxes", "picture_mask", "texts", "text_mask", "identity", "words")
    own = ("texts", "text_mask", "words", "numbers")
    entities = batch.entities and replace(batch.entities, **{name: getattr(batch.entities, name)[rows] for name in own})
    return replace(batch, **{name: getattr(batch, name)[rows] for name in names}, entities=entities)
