"""A tiny model of random weights, its last layer set so that chosen words carry chosen tags."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast

from encoders.ner import recogniser
from kg.errors import BadInput

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "acme", "red", "blue", "mug", "by", "tea", "##pot", ","]
TAGS = ["O", "B-ORG", "I-ORG", "B-COLOR", "CARDINAL", "B-Scent"]
MEANT = {"acme": "B-ORG", "mug": "I-ORG", "red": "B-COLOR", "blue": "B-COLOR", "by": "CARDINAL", "tea": "B-Scent"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ner")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=300, id2label=dict(enumerate(TAGS)), label2id={tag: n for n, tag in enumerate(TAGS)},
    )  # fmt: skip
    network = BertForTokenClassification(config).eval()
    with torch.no_grad():  # what a token is decides: nothing flows between places, and places look alike
        layer = network.bert.encoder.layer[0]
        for linear in (layer.attention.output.dense, layer.output.dense):
            linear.weight.zero_()
            linear.bias.zero_()
        network.bert.embeddings.position_embeddings.weight.zero_()
        states = network.bert(torch.arange(len(WORDS))[None]).last_hidden_state[0]
        wanted = torch.full((len(WORDS), len(TAGS)), -9.0)
        for number, word in enumerate(WORDS):
            wanted[number, TAGS.index(MEANT.get(word, "O"))] = 9.0
        network.classifier.weight.copy_(torch.linalg.lstsq(states, wanted).solution.T)
        network.classifier.bias.zero_()
    network.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Acme Mug, red", [("brand", "acme mug"), ("colour", "red")]),
        ("red blue", [("colour", "red"), ("colour", "blue")]),  # B begins a new one
        ("acme by teapot", [("brand", "acme"), ("scent", "teapot")]),  # a number is none; a word is what it begins with
        ("by , by", []),
        ("", []),
        ("acme , mug", [("brand", "acme"), ("brand", "mug")]),
        ("👍 red", [("colour", "red")]),
        ("by " * 5000 + "red", []),  # beyond the model's places
    ],
)
def test_what_the_model_says(model: Path, caption: str, expected: list[tuple[str, str]]) -> None:
    assert recogniser(str(model), device="cpu")([caption]) == [expected]


def test_batches_change_nothing(model: Path) -> None:
    captions = ["acme mug", "red teapot by acme , blue", ""] * 3
    assert recogniser(str(model), device="cpu", batch=2)(captions) == recogniser(str(model), device="cpu")(captions)
    assert recogniser(str(model), device="cpu")([]) == []
    assert recogniser(str(model), device="cpu", least_score=1.1)(["acme"]) == [[]]


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"entity_model = .* no token classification"):
        recogniser(str(tmp_path / "none"))
