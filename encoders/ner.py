"""Entities in captions by a model: any token classification of transformers, by name or folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from encoders.device import choose_device
from kg.errors import BadInput
from kg.records import normalise

__all__ = ["TYPES", "recogniser"]

# What common tag sets call an entity → its type here; every other tag is a type of its own, in lower case.
TYPES = {
    "org": "brand", "brand": "brand", "corporation": "brand",
    "misc": "phrase", "product": "phrase", "prod": "phrase", "work_of_art": "phrase",
    "loc": "place", "gpe": "place", "color": "colour",
}  # fmt: skip
# Sizes, numbers, people and dates say nothing about which product it is; of a category only its own name is known.
LEFT_OUT = {"o", "category", "per", "person", "date", "time", "cardinal", "ordinal", "quantity", "percent", "money"}
PLACES = 256  # tokens of a caption
LONGEST = 200  # characters of an entity


def recogniser(
    name: str, *, device: str = "auto", batch: int = 32, least_score: float = 0.5
) -> Callable[[Sequence[str]], list[list[tuple[str, str]]]]:
    """A function from captions to (type, text) of their entities, in the order of their places.

    Tags are read with or without B- and I-; a word is what its first token is.

    Args:
        name: of a model, or its folder.
        device: auto, cpu, cuda, …
        batch: captions in one forward pass.
        least_score: probability of a tag below which a word is no entity.

    Raises:
        BadInput: no such model, or it has no tokenizer that knows where its tokens stand.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForTokenClassification.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"entity_model = {name!r} is no token classification of transformers: {error}",
            hint="name a model of the hub that is on this machine, or the folder of one",
        ) from error
    if not tokenizer.is_fast:
        raise BadInput(f"entity_model = {name!r}: its tokenizer cannot tell where in the text its tokens stand")
    model = model.eval().to(choose_device(device))
    tags = {number: str(tag) for number, tag in model.config.id2label.items()}

    def recognise(captions: Sequence[str]) -> list[list[tuple[str, str]]]:
        found: list[list[tuple[str, str]]] = []
        for start in range(0, len(captions), batch):
            found += _read(tokenizer, model, tags, list(captions[start : start + batch]), least_score)
        return found

    return recognise


@torch.inference_mode()
def _read(
    tokenizer: Any, model: Any, tags: dict[int, str], captions: list[str], least: float
) -> list[list[tuple[str, str]]]:
    batch = tokenizer(
        captions, return_tensors="pt", padding=True, truncation=True, max_length=PLACES, return_offsets_mapping=True
    )
    offsets = batch.pop("offset_mapping").tolist()
    chances = model(**batch.to(model.device)).logits.softmax(dim=-1).max(dim=-1)
    scores, best = chances.values.tolist(), chances.indices.tolist()
    found = []
    for row, caption in enumerate(captions):
        words: list[tuple[str, bool, int, int]] = []  # type, whether an entity begins here, first and last place
        seen = None
        for place, word in enumerate(batch.word_ids(row)):
            if word is None:
                continue
            first, last = offsets[row][place]
            if word == seen:
                words[-1] = (*words[-1][:3], last)
                continue
            seen = word
            tag = tags[best[row][place]] if scores[row][place] >= least else "O"
            position, _, rest = tag.rpartition("-")
            kind = rest.casefold()
            words.append(("" if kind in LEFT_OUT else TYPES.get(kind, kind), position == "B", first, last))
        found.append(_joined(caption, words))
    return found


def _joined(caption: str, words: list[tuple[str, bool, int, int]]) -> list[tuple[str, str]]:
    """Neighbours of one type are one entity, unless the second begins a new one."""
    spans: list[tuple[str, int, int]] = []
    before = ""
    for kind, begins, first, last in words:
        if kind and kind == before and not begins:
            spans[-1] = (kind, spans[-1][1], last)
        elif kind:
            spans.append((kind, first, last))
        before = kind
    texts = ((kind, normalise(caption[first:last])) for kind, first, last in spans)
    return [(kind, text) for kind, text in texts if text and len(text) <= LONGEST]
