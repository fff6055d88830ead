"""Selects the confounding entities of a training: the scores of `encoders.confounding` on its tables of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.backbones import TextBackbone
from encoders.confounding import Confounding, choose, drop_in_loss, fit_reading, mismatch, sampled
from encoders.data import TrainItem
from encoders.features import FeatureCache, text_tokens
from encoders.lexicon import Lexicon, learn_lexicon
from encoders.tables import TokenTable

__all__ = ["pooled_text", "select_entities"]

CHUNK = 1024  # texts


def select_entities(
    items: Sequence[TrainItem],
    table: TokenTable,
    text: TextBackbone,
    rules: Mapping[str, Any],
    *,
    cache: FeatureCache | None = None,
) -> list[Confounding]:
    """All entities of the training items with both scores, and which are chosen.

    Args:
        items: of the table's rows; those that are not of the training split are not looked at.
        table: their tokens.
        text: the frozen text model.
        rules: "learner" of a config, and the seed of a random choice.
        cache: of the tokens of texts.
    """
    fit = np.flatnonzero(table.parts == "train")
    train = [items[row] for row in fit.tolist()]
    rows = learn_lexicon((item.entities for item in train), least_df=rules["least_df"])
    lexicon = Lexicon(tuple(rows), rules["per_item"])
    if not rows:
        return []
    texts, pictures = _table_texts(table, fit), _table_pictures(table, fit)
    reading = fit_reading(texts, pictures, ridge=rules["ridge"])
    number = {row.key: n for n, row in enumerate(rows)}
    members: list[list[int]] = [[] for _ in rows]
    named: list[list[int]] = [[] for _ in rows]
    for n, item in enumerate(train):
        has = {number[key] for key in lexicon.keys(item.text, item.entities) if key in number}
        says = {number[key] for mention in lexicon.mentions(item.text) for key in mention.keys}
        for entity in has:
            members[entity].append(n)
        for entity in has & says:
            named[entity].append(n)
    seen = reading.pictures(pictures)

    asked = sampled([np.array(one, np.int64) for one in named], rules["sampled"])
    less = [[lexicon.without(train[n].text, {row.key}) for n in some] for row, some in zip(rows, asked, strict=True)]
    place = {one: n for n, one in enumerate(sorted({one for some in less for one in some}, key=lambda s: (len(s), s)))}
    read = reading.texts(pooled_text(text, list(place), cache))  # texts of like length together: less padding
    drops = drop_in_loss(
        asked,
        lambda entity, _: read[[place[one] for one in less[entity]]],
        reading.texts(texts),
        seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-12),
        table.identity[fit],
    )
    said = reading.texts(pooled_text(text, [row.text for row in rows], cache))
    far = mismatch(said, seen, [np.array(one, np.int64) for one in members])
    scored = [
        replace(row, mismatch=round(float(miss), 6), drop_in_loss=None if drop is None else round(drop, 6))
        for row, miss, drop in zip(rows, far, drops, strict=True)
    ]
    names = ("score", "rule", "share", "threshold", "seed")
    return choose(scored, **{name: rules[name] for name in names if name in rules})


def pooled_text(text: TextBackbone, texts: Sequence[str], cache: FeatureCache | None) -> NDArray[np.float32]:
    """(N, V): mean of the frozen tokens."""
    found = np.zeros((len(texts), text.width), np.float32)
    for start in range(0, len(texts), CHUNK):
        for n, tokens in enumerate(text_tokens(text, texts[start : start + CHUNK], cache=cache), start):
            found[n] = tokens.astype(np.float32).mean(axis=0)
    return found


def _table_texts(table: TokenTable, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.stack([table.texts[table.starts[r] : table.starts[r + 1]].mean(axis=0, dtype=np.float32) for r in rows])


def _table_pictures(table: TokenTable, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N, W): mean of the frozen tokens of the plain views."""
    views = table.views[rows, 0]
    return np.stack([table.features[v, : table.counts[v]].mean(axis=0, dtype=np.float32) for v in views])
