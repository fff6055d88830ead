from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import encoders
from encoders.backbones import text_backbone
from encoders.config import load_config
from encoders.data import TrainItem
from encoders.entities import FILE, NONE, Vocabulary, build_entities, learn_entities
from encoders.training import TrainReport, train
from kg.errors import BadInput, EncoderMismatch

CAPTIONS = ["a red circle", "a red square", "a blue circle", "a blue square", "green tea"] * 2
RULES = {"per_item": 15, "least_df": 2, "most_words": 2, "most": 100}


def run(items: list[TrainItem], out: Path, cache: Path, **changes: object) -> TrainReport:
    config = load_config("ege_cmp_tiny")
    config["picture"] |= {"tokens": "cells", "near": 0}
    config["training"] |= {"epochs": 3, "scenes": 0}
    config["detector"] = None
    for path, value in changes.items():
        part, name = path.split("__")
        config[part][name] = value
    out.mkdir(parents=True, exist_ok=True)
    (out.parent / f"{out.name}.json").write_text(json.dumps(config))
    return train("ege_cmp", items, out, config=out.parent / f"{out.name}.json", device="cpu", cache=cache)


def losses(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_a_vocabulary_finds_its_entities_in_any_text(tmp_path: Path) -> None:
    known = learn_entities(CAPTIONS, RULES)
    assert {"red", "blue", "circle", "square"} <= set(known.texts)
    [row, nothing] = known.find(["A BLUE circle, not a hexagon", "hexagon"])
    assert {known.texts[n] for n in row if n != NONE} == {"blue", "circle"}
    assert (nothing == NONE).all()
    known.save(tmp_path)
    again = Vocabulary.open(tmp_path)
    assert again == known
    assert again.fingerprint == known.fingerprint
    assert learn_entities(CAPTIONS, {**RULES, "per_item": 1}).find(["a blue circle"]).shape == (1, 1)
    assert not len(learn_entities(CAPTIONS, {**RULES, "per_item": 0}))
    (tmp_path / FILE).write_text("{")
    with pytest.raises(BadInput, match="no vocabulary of entities"):
        Vocabulary.open(tmp_path)


def test_tokens_of_sentences_and_of_single_entities(tmp_path: Path) -> None:
    known, text = learn_entities(CAPTIONS, RULES), text_backbone("minilm", places=32)
    table = build_entities(known, CAPTIONS[:3], text, tmp_path)
    rows = np.array([2, 0])
    sentences = known.sentences(table.items[rows], text)
    assert all(" [SEP] " in one for one in sentences)
    tokens, mask, words = table.sentences(rows, "cpu", torch.float32)
    wanted, there = text.tokens(sentences)
    assert torch.equal(mask, there)
    torch.testing.assert_close(tokens[mask], wanted[there], atol=2e-2, rtol=1e-2)
    assert [row[some].tolist() for row, some in zip(words, mask, strict=True)] == text.ids(sentences)
    numbers = np.array([1, 0])
    tokens, mask = table.of(numbers, "cpu", torch.float32)
    wanted, there = text.tokens([known.texts[n] for n in numbers])
    torch.testing.assert_close(tokens[mask], wanted[there], atol=2e-2, rtol=1e-2)


def test_trains_opens_and_goes_on_with_the_same_losses(items: list[TrainItem], features: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
        if stage == "epochs" and done == 2:
            raise Stopped

    whole = run(items, tmp_path / "whole", features)
    first, second = losses(tmp_path / "whole")[:2]
    assert "node" not in first  # there is no graph yet
    assert {"node", "subgraph", "image_entity", "entity_mlm"} <= set(second)
    (tmp_path / "parts.json").write_text((tmp_path / "whole.json").read_text())
    options = {"config": tmp_path / "parts.json", "device": "cpu", "cache": features}
    with pytest.raises(Stopped):
        train("ege_cmp", items, tmp_path / "parts", on_progress=stop, **options)  # type: ignore[arg-type]
    parts = train("ege_cmp", items, tmp_path / "parts", **options)  # type: ignore[arg-type]
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert parts.fingerprint == whole.fingerprint
    encoder = encoders.load(tmp_path / "whole", device="cpu")
    assert encoder.fingerprint == whole.fingerprint
    texts = ["a red circle", "nothing that it knows", "", "a blue square"]
    vectors = encoder.encode_texts(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[:1], encoder.encode_texts(texts[:1]), atol=1e-5)
    document = json.loads((tmp_path / "whole" / FILE).read_text())
    document["entities"].pop()
    (tmp_path / "whole" / FILE).write_text(json.dumps(document))
    with pytest.raises(EncoderMismatch, match="entities"):
        encoders.load(tmp_path / "whole", device="cpu")


@pytest.mark.parametrize(
    "changes",
    [{"entities__per_item": 0}, {"entities__graph": "random"}, {"model__graph_text": 1.0, "model__knows": "evidence"}],
)
def test_ablations_train_and_open(
    items: list[TrainItem], features: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    run(items, tmp_path / "out", features, training__epochs=2, **changes)
    last = losses(tmp_path / "out")[-1]
    assert ("node" in last) == ("entities__per_item" not in changes)
    assert encoders.load(tmp_path / "out", device="cpu").encode_texts(["a red circle"]).shape == (1, 128)
