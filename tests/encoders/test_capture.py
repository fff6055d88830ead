from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from encoders.capture import Capture
from encoders.masking import IGNORED, Masked, Rates
from encoders.tables import Batch
from encoders.uniter_style import UniterStyle
from tests.encoders.batches import REGIONS, TEXT, WIDE, WORDS, Words, make_batch, with_masked

SHAPE: dict[str, Any] = {
    "picture_inside": WIDE,
    "text_inside": TEXT,
    "places": (WORDS, REGIONS),
    "width": 32,
    "layers": [1, 1, 1],
    "heads": 4,
    "dim": 16,
}


def capture(**values: Any) -> Capture:
    torch.manual_seed(0)
    return Capture(**{**SHAPE, "words": Words().words, **values}).eval()


def uniter(**values: Any) -> UniterStyle:
    torch.manual_seed(0)
    shape = {name: value for name, value in SHAPE.items() if name not in ("places", "layers")}
    return UniterStyle(**{**shape, "layers": 2, "words": Words().words, **values}).eval()


MODELS = [capture, uniter]


def reached(model: nn.Module, loss: Tensor) -> set[str]:
    """Names of the parameters that get a gradient other than zero."""
    model.zero_grad()
    loss.backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


def streams(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_each_loss_reaches_what_it_should() -> None:
    model, batch = capture(loss_on="both"), with_masked(make_batch())
    parts = {name: streams(reached(model, model(batch)[name])) for name in ("ntxent", "ntxent_post", "mlm", "mrm")}
    separate = {"text_entry", "picture_entry", "text_layers", "picture_layers"}
    fusion = {"cross_layers", "joint_layers", "joint_places", "joint_norm"}
    heads = {"text_head", "picture_head", "log_scale"}
    assert parts["ntxent"] == separate | heads
    assert parts["ntxent_post"] == separate | fusion | heads
    assert parts["mlm"] == separate | fusion | {"pretext"}
    assert parts["mrm"] == separate | fusion | {"pretext"}


@pytest.mark.parametrize("layers", [[1, 1, 0], [1, 0, 1], [0, 1, 0]])
def test_masked_words_ask_the_picture_and_masked_regions_the_text(layers: list[int]) -> None:
    """Through the cross layer alone, and through the joint one alone."""
    model, batch = capture(layers=layers), with_masked(make_batch())
    assert "picture_entry.features.weight" in reached(model, model(batch)["mlm"])
    assert "text_entry.1.weight" in reached(model, model(batch)["mrm"])


def test_without_cross_and_joint_nothing_crosses() -> None:
    model, batch = capture(layers=[1, 0, 0]), with_masked(make_batch())
    assert streams(reached(model, model(batch)["mlm"])) == {"text_entry", "text_layers", "pretext"}
    assert streams(reached(model, model(batch)["mrm"])) == {"picture_entry", "picture_layers", "pretext"}


def test_the_single_stream_crosses_for_masked_parts_and_not_for_the_contrast() -> None:
    model, batch = uniter(), with_masked(make_batch())
    assert "picture_entry.features.weight" in reached(model, model(batch)["mlm"])
    assert "text_entry.1.weight" in reached(model, model(batch)["mrm"])
    other = replace(batch, texts=batch.texts + 1)
    assert torch.equal(model.vectors(batch)[0], model.vectors(other)[0])


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("name", ["ntxent", "mlm", "mrm"])
def test_a_batch_of_8_is_learned_by_heart(make: Any, name: str) -> None:
    model = make(**{"mlm": 0.0, "mrm": 0.0, "ntxent": 0.0, name: 1.0}).train()
    batch = with_masked(make_batch(), seed=3)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    first = None
    for _ in range(200):
        found = model(batch)
        assert set(found) == {name}
        loss = found[name]
        first = first or float(loss.detach())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.05 * first
    if name == "ntxent":
        pictures, texts = model.eval().vectors(batch)
        assert (pictures @ texts.T).argmax(dim=1).tolist() == list(range(8))


def test_post_fusion_contrast_is_learned_by_heart() -> None:
    model = capture(loss_on="post", vectors="post", item="post", mlm=0.0, mrm=0.0).train()
    batch = with_masked(make_batch(), seed=3)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for _ in range(120):
        found = model(batch)
        assert set(found) == {"ntxent_post"}
        optimiser.zero_grad()
        found["ntxent_post"].backward()
        optimiser.step()
    assert float(found["ntxent_post"].detach()) < 0.1


@pytest.mark.parametrize("make", MODELS)
def test_what_is_hidden_does_not_reach_the_output(make: Any) -> None:
    """The very features and the very word that are asked for change, and no loss but their own target does."""
    model, batch = make(), with_masked(make_batch(), seed=3)
    assert batch.masked is not None
    asked = batch.masked.words != IGNORED
    hidden = batch.masked.regions & (batch.masked.pictures == 0).all(dim=2)
    assert asked.any()
    assert hidden.any()
    states = tokens_of(model, batch)
    changed = batch.pictures.clone()
    changed[hidden] = 50
    other = replace(batch, pictures=changed, words=torch.where(asked, 4, batch.words))
    for before, after in zip(states, tokens_of(model, other), strict=True):
        assert torch.equal(before, after)


def test_a_share_of_the_items_may_do() -> None:
    batch = make_batch()
    found = with_masked(batch, rates=Rates(0.15, 0.15, 0.5)).masked
    assert found is not None
    assert len(found.identity) == 4
    rows = found.identity[:, 0]
    assert torch.equal(found.boxes, batch.boxes[rows])
    assert torch.equal(found.features, batch.pictures[rows][found.regions])
    losses = capture(mask_items=0.5, loss_on="both")(with_masked(batch, rates=Rates(0.15, 0.15, 0.5)))
    assert all(torch.isfinite(loss) for loss in losses.values())


def tokens_of(model: Any, batch: Batch) -> tuple[Tensor, ...]:
    """What the heads of the masked parts get."""
    caught: list[Tensor] = []
    hooks = [part.register_forward_hook(lambda _, given, __: caught.append(given[0])) for part in heads(model)]
    model(batch)
    for hook in hooks:
        hook.remove()
    assert len(caught) == 2
    return tuple(caught)


def heads(model: Any) -> list[nn.Module]:
    return [model.pretext.word, model.pretext.region]


@pytest.mark.parametrize("make", MODELS)
def test_masked_losses_are_those_written_out(make: Any) -> None:
    model, batch = make(mlm=0.5, mrm=2.0), with_masked(make_batch(), seed=3)
    assert isinstance(batch.masked, Masked)
    found, (words, regions) = model(batch), tokens_of(model, batch)
    scores = model.pretext.word(words) @ Words().words.T + model.pretext.word_bias
    targets = [w for row in batch.masked.words.tolist() for w in row if w != IGNORED]
    logs = scores.log_softmax(dim=1)
    mlm = -sum(float(logs[i, word].detach()) for i, word in enumerate(targets)) / len(targets)
    assert float(found["mlm"]) == pytest.approx(0.5 * mlm, rel=1e-4)
    wanted = batch.pictures[batch.masked.regions]  # raw features; the model's scale is 1 here
    mrm = float((model.pretext.region(regions) - wanted).square().sum()) / wanted.numel()
    assert float(found["mrm"]) == pytest.approx(2 * mrm, rel=1e-4)


def test_only_words_of_the_texts_are_scored() -> None:
    model, batch = capture(), with_masked(make_batch(), seed=3)
    assert batch.masked is not None
    known = batch.words.unique()
    assert 4 < len(known) < len(Words().words)
    words, _ = tokens_of(model, batch)
    scores = model.pretext.word(words) @ Words().words[known].T
    targets = [known.tolist().index(w) for row in batch.masked.words.tolist() for w in row if w != IGNORED]
    model.start(batch.pictures, batch.picture_mask, batch.words)
    model.picture_entry.scale.fill_(1)
    wanted = torch.nn.functional.cross_entropy(scores, torch.tensor(targets))
    torch.testing.assert_close(model(batch)["mlm"], wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("make", MODELS)
def test_padding_changes_nothing(make: Any) -> None:
    model, batch = make(), make_batch()
    pictures, texts = batch.pictures.clone(), batch.texts.clone()
    pictures[~batch.picture_mask], texts[~batch.text_mask] = 9, 9
    other = replace(batch, pictures=pictures, texts=texts)
    for before, after in zip(model.vectors(batch), model.vectors(other), strict=True):
        torch.testing.assert_close(before, after)
    both = (batch.pictures, batch.boxes, batch.picture_mask, batch.texts, batch.text_mask)
    changed = (pictures, batch.boxes, batch.picture_mask, texts, batch.text_mask)
    for before, after in zip(model.fused_vectors(*both), model.fused_vectors(*changed), strict=True):
        torch.testing.assert_close(before, after)


@pytest.mark.parametrize(
    "model",
    [
        capture(),
        capture(vectors="post"),
        capture(head="relu", pre_norm=False),
        capture(skip="pca"),
        capture(skip="random"),
        capture(global_token="mean", types=True),
        capture(layers=[0, 0, 0]),
        uniter(),
        uniter(skip="pca", pre_norm=False),
    ],
)
def test_vectors_have_unit_length(model: Any) -> None:
    batch = make_batch()
    model.start(batch.pictures, batch.picture_mask, batch.words)
    fused = model.fused_vectors(batch.pictures, batch.boxes, batch.picture_mask, batch.texts, batch.text_mask)
    for vectors in (*model.vectors(batch), *fused):
        assert vectors.shape == (8, 16)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(8))


def test_the_triple_sets_the_depths() -> None:
    model = capture(layers=[3, 2, 4])
    depths = [len(part) for part in (model.text_layers, model.picture_layers, model.cross_layers, model.joint_layers)]
    assert depths == [3, 3, 2, 4]


def test_boxes_matter() -> None:
    model, batch = capture(), make_batch()
    other = replace(batch, boxes=batch.boxes.flip(1))
    assert not torch.allclose(model.vectors(batch)[0], model.vectors(other)[0], atol=1e-4)


def test_post_fusion_vectors_depend_on_both_and_lone_ones_do_not() -> None:
    for exported in ("pre", "post"):
        model, batch = capture(vectors=exported), make_batch()
        other = replace(batch, texts=batch.texts.flip(0))
        assert torch.equal(model.vectors(batch)[0], model.vectors(other)[0])
        masks = batch.picture_mask, batch.text_mask
        fused = [model.fused_vectors(b.pictures, b.boxes, masks[0], b.texts, masks[1])[0][:6] for b in (batch, other)]
        assert not torch.allclose(*fused, atol=1e-4)


def test_losses_that_are_off_are_not_computed() -> None:
    batch = make_batch()
    lone = capture(mlm=0.0, mrm=0.0)
    assert lone.rates is None
    assert set(lone(batch)) == {"ntxent"}  # no masked batch is needed
    with pytest.raises(ValueError, match="nothing masked"):
        capture()(batch)
    assert set(capture(ntxent=0.0)(with_masked(batch))) == {"mlm", "mrm"}
    assert set(capture(ntxent_on="masked", mlm=0.0, mrm=0.0)(with_masked(batch))) == {"ntxent"}


def test_tokens_are_hidden_in_training_only() -> None:
    model, batch = capture(mlm=0.0, mrm=0.0, hide_words=0.5, hide_regions=0.5), make_batch()
    assert float(model(batch)["ntxent"]) == float(model(batch)["ntxent"])
    model.train()
    assert float(model(batch)["ntxent"]) != float(model(batch)["ntxent"])


def test_the_skip_starts_as_principal_components() -> None:
    """At first the vectors keep the neighbours that the frozen features have."""
    torch.manual_seed(1)
    features = torch.randn(200, 4) @ torch.randn(4, WIDE) + 3
    pictures = features[:, None].repeat(1, REGIONS, 1)
    mask = torch.ones(200, REGIONS).bool()
    model = capture(skip="pca")
    model.start(pictures, mask, torch.arange(9))
    scaled = model.picture_entry.whole(pictures, mask)
    found = model.picture_head.skip(scaled)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(16), atol=1e-3, rtol=0)
    assert float(found.square().sum(dim=1).mean()) == pytest.approx(1, abs=0.1)
    covariance = found[:, :4].T @ found[:, :4] / 200
    torch.testing.assert_close(covariance, torch.diag(covariance.diag()), atol=1e-3, rtol=0)
    assert (covariance.diag()[:-1] >= covariance.diag()[1:] - 1e-4).all()


def test_features_get_unit_mean_square() -> None:
    batch = make_batch()
    for model in (capture(), uniter()):
        model.start(batch.pictures * 0.01, batch.picture_mask, batch.words)
        scaled = batch.pictures[batch.picture_mask] * 0.01 * model.picture_entry.scale
        assert float(scaled.square().mean()) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": [1, 1]}, "three numbers from 0"),
        ({"layers": [1, -1, 1]}, "three numbers from 0"),
        ({"heads": 5}, r"width \(32\) must be divisible by heads \(5\)"),
        ({"cross_width": 30}, r"width \(30\) must be divisible by heads \(4\)"),
        ({"loss_on": "all"}, "loss_on 'all'"),
        ({"skip": "yes"}, "skip 'yes'"),
        ({"head": "tanh"}, "head 'tanh'"),
        ({"mlm": 0.0, "mrm": 0.0, "ntxent": 0.0}, "one loss at least"),
    ],
)
def test_values_that_do_not_fit(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        capture(**change)
