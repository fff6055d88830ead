"""Text layers that start from a BERT: small ones with random weights, saved and loaded as a user's would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from encoders import architecture
from encoders.backbones import TextBackbone, text_backbone
from encoders.config import load_config
from encoders.training import groups
from encoders.transformers import Layer, bert_layer
from kg.errors import BadInput

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "shoe", "唇", "膏"]


class Look:
    width, places = 40, 37


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six layers of width 96, a vocabulary of ten words."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=96, num_hidden_layers=6, num_attention_heads=12, intermediate_size=384
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    return folder


def config_of(name: str, bert: Path, **model: Any) -> dict[str, Any]:
    """A packaged config, an eighth as wide, over that BERT."""
    config = load_config(name)
    config["text"]["backbone"] = str(bert)
    sizes = ("width", "hidden", "picture_hidden", "cross_width", "dim")
    config["model"] |= {key: config["model"][key] // 8 for key in sizes if key in config["model"]}
    config["model"] |= model
    return config


def text_of(config: dict[str, Any]) -> TextBackbone:
    return text_backbone(config["text"]["backbone"], places=config["text"]["places"], depth=config["text"]["depth"])


@pytest.mark.parametrize("name", ["capture_base", "capture_released"])
def test_published_configs_copy_the_first_layers(name: str, bert: Path) -> None:
    from transformers import BertModel

    config = config_of(name, bert)
    text = text_of(config)
    model = architecture("capture").build(config, Look, text)
    theirs = BertModel.from_pretrained(bert)
    assert len(model.text_layers) == 4
    assert len(model.joint_layers) == {"capture_base": 4, "capture_released": 6}[name]
    for ours, layer in zip(model.text_layers, theirs.encoder.layer, strict=False):
        found = ours.state_dict()
        attention = layer.attention
        assert torch.equal(found["ask.weight"], attention.self.query.weight)
        assert torch.equal(found["tell.weight"][:96], attention.self.key.weight)
        assert torch.equal(found["tell.weight"][96:], attention.self.value.weight)
        assert torch.equal(found["merge.bias"], attention.output.dense.bias)
        assert torch.equal(found["norm.weight"], attention.output.LayerNorm.weight)
        assert torch.equal(found["think.widen.weight"], layer.intermediate.dense.weight)
        assert torch.equal(found["think.narrow.weight"], layer.output.dense.weight)
        assert torch.equal(found["think.norm.bias"], layer.output.LayerNorm.bias)


@pytest.mark.parametrize("depth", [0, 2])
@torch.inference_mode()
def test_frozen_part_and_copied_layers_compute_what_bert_computes(depth: int, bert: Path) -> None:
    from transformers import BertModel

    text = text_backbone(str(bert), places=8, depth=depth)
    texts = ["a red shoe", "唇膏", ""]
    features, mask = text.tokens(texts)
    for weights in text.upper[: 4 - depth]:
        layer = Layer(96, 12, hidden=384, pre=False).eval()
        layer.load_state_dict(bert_layer(weights))
        features = layer(features, mask)
    theirs = BertModel.from_pretrained(bert).eval()
    theirs.encoder.layer = theirs.encoder.layer[:4]
    ids = text.ids(texts)
    padded = torch.tensor([row + [0] * (features.shape[1] - len(row)) for row in ids])
    wanted = theirs(input_ids=padded, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(features[mask], wanted[mask], atol=1e-5, rtol=1e-4)


def test_minilm_gives_its_upper_layers() -> None:
    config = config_of("capture_base", Path("minilm"))
    config["text"] |= {"backbone": "minilm", "depth": 4}
    config["model"] |= {"width": 384, "heads": 12, "hidden": 1536, "layers": [2, 1, 1]}
    text = text_of(config)
    model = architecture("capture").build(config, Look, text)
    assert torch.equal(model.text_layers[1].ask.weight, text.upper[1]["attention.self.query.weight"])


def test_one_step_of_the_published_configs(bert: Path) -> None:
    from encoders.masking import Rates
    from encoders.preparing import masked
    from encoders.tables import Batch

    for name in ("capture_base", "capture_released"):
        config = config_of(name, bert)
        text = text_of(config)
        model = architecture("capture").build(config, Look, text)
        ids = torch.tensor(text.ids(["a red shoe"] * 3))
        mask, seen = torch.ones(ids.shape).bool(), torch.ones(3, 37).bool()
        batch = Batch(
            torch.randn(3, 37, 40),
            torch.rand(3, 37, 5),
            seen,
            text.hidden(ids, mask),
            mask,
            torch.arange(3)[:, None].repeat(1, 2),
            ids,
        )
        optimiser = torch.optim.AdamW(groups(model, config["training"]), lr=1e-3)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        found = model(masked(batch, text, Rates(), torch.Generator().manual_seed(0)))
        assert set(found) == {"ntxent", "mlm", "mrm"} | ({"ntxent_post"} if name == "capture_base" else set())
        sum(found.values()).backward()
        optimiser.step()
        moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
        assert {"text_layers.0.ask.weight", "picture_entry.features.weight", "joint_layers.0.ask.weight"} <= moved


def test_started_weights_learn_slower_and_only_matrices_decay(bert: Path) -> None:
    """The released code matched names that only a wrapper gives, and swapped the groups that decay."""
    config = config_of("capture_base", bert)
    model = architecture("capture").build(config, Look, text_of(config))
    found = {
        id(p): (group["factor"], group["weight_decay"])
        for group in groups(model, config["training"])
        for p in group["params"]
    }
    assert len(found) == len(list(model.parameters()))
    for name, p in model.named_parameters():
        factor = 0.1 if name.startswith("text_layers.") else 1.0
        decay = 0.01 if p.ndim > 1 else 0.0
        assert found[id(p)] == (factor, decay), name


@pytest.mark.parametrize(
    ("model", "text", "words"),
    [
        ({"layers": [7, 1, 1]}, {}, "7 text layers cannot start from the 6"),
        ({}, {"depth": 3}, "4 text layers cannot start from the 3"),
        ({"pre_norm": True}, {}, "pre_norm"),
        ({"width": 48}, {}, r"\(96,\) in the text model and \(48,\)"),
        ({"hidden": 100}, {}, r"\(384, 96\).*\(100, 96\)"),
    ],
)
def test_layers_that_cannot_be_copied(model: dict[str, Any], text: dict[str, Any], words: str, bert: Path) -> None:
    config = config_of("capture_base", bert, **model)
    config["text"] |= text
    with pytest.raises(BadInput, match=words):
        architecture("capture").build(config, Look, text_of(config))


def test_a_depth_that_is_not_there(bert: Path) -> None:
    with pytest.raises(BadInput, match=r"text depth 9: .* has 6 layers"):
        text_backbone(str(bert), depth=9)
