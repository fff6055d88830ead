"""EGE-CMP; papers.md 2.6 lists the defects of the released code that are held here and in test_graph_losses.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from encoders.ege_cmp import EgeCmp
from encoders.knowledge import KNOWN
from encoders.masking import IGNORED, Rates
from encoders.tables import Batch, EntityBatch
from tests.encoders.batches import MASK, TEXT, WIDE, Words, make_batch, with_masked
from tests.encoders.test_capture import SHAPE, capture, reached, streams

COUNT, TOKENS = 12, 4


def ege(entities: int = COUNT, *, base: dict[str, Any] | None = None, **values: Any) -> EgeCmp:
    torch.manual_seed(0)
    return EgeCmp(capture(**(base or {})), dim=SHAPE["dim"], entities=entities, **values).eval()


def with_entities(batch: Batch, *, seed: int = 0) -> Batch:
    """Each item has three of the entities, the last none; the sentence is the text's own words 1 to 4. The graph: even
    entities are near each other, odd ones too."""
    draw = torch.Generator().manual_seed(seed)
    size = len(batch.identity)
    numbers = torch.stack([torch.randperm(COUNT, generator=draw)[:3] for _ in range(size)])
    numbers[-1] = -1
    nodes = torch.randn(COUNT, TOKENS, TEXT, generator=draw)
    parity = torch.arange(COUNT) % 2
    similar = 0.9 * (parity[:, None] == parity).float()
    mask = torch.ones(COUNT, TOKENS).bool()
    mask[0, -1] = False
    entities = EntityBatch(
        batch.texts[:, :5], batch.text_mask[:, :5], batch.words[:, :5], numbers, nodes, mask, similar.fill_diagonal_(1)
    )
    return replace(batch, entities=entities)


def both(size: int = 8, *, seed: int = 0) -> Batch:
    return with_masked(with_entities(make_batch(size, seed=seed)), seed=3, rates=Rates(entities=True))


def test_without_entities_it_is_capture_exactly() -> None:
    batch = with_masked(make_batch(), seed=3)
    plain, model = capture(views=0.0), ege(0)
    wanted, found = plain(batch), model(batch)
    assert list(wanted) == list(found)
    for name, loss in wanted.items():
        assert torch.equal(loss, found[name])
    for one, other in zip(plain.vectors(batch), model.vectors(batch), strict=True):
        assert torch.equal(one, other)
    assert [p.shape for p in plain.parameters()] == [p.shape for p in model.parameters()]
    assert model.rates == plain.rates


@pytest.mark.parametrize("name", ["node", "subgraph"])
def test_each_graph_loss_reaches_the_text_encoder(name: str) -> None:
    """Defect 1: in the released code neither does."""
    model, batch = ege(), both()
    loss = model(batch)[name]
    assert float(loss) > 0
    names = reached(model, loss)
    assert {"capture.text_entry.1.weight", "capture.text_head.change.1.weight"} <= names
    assert any(one.startswith("capture.text_layers") for one in names)
    assert not any("picture" in one for one in names)


def test_each_other_loss_reaches_what_it_should() -> None:
    model, batch = ege(), both()
    found = {
        name: {one.removeprefix("capture.") for one in reached(model, model(batch)[name])} for name in model(batch)
    }
    assert set(found) == {"ntxent", "image_entity", "entity_mlm", "mlm", "mrm", "node", "subgraph"}
    separate = {"text_entry", "picture_entry", "text_layers", "picture_layers"}
    assert streams(found["image_entity"]) == separate | {"text_head", "picture_head", "log_scale"}
    assert {"text_layers", "cross_layers", "joint_layers", "pretext"} <= streams(found["entity_mlm"])
    assert not streams(found["entity_mlm"]) & {"picture_entry", "picture_layers"}
    assert {"picture_entry", "text_layers", "cross_layers", "joint_layers"} <= streams(found["mlm"])


def test_masked_words_see_the_entities() -> None:
    model, batch = ege(), both()
    assert batch.masked is not None
    assert batch.masked.entities is not None
    texts, mask, asked = batch.masked.entities
    other = replace(batch, masked=replace(batch.masked, entities=(texts.flip(0), mask, asked)))
    assert float(model(batch)["mlm"]) != float(model(other)["mlm"])


def test_what_is_hidden_in_the_text_is_hidden_in_the_entities() -> None:
    batch = both()
    assert batch.masked is not None
    assert batch.masked.entities is not None
    assert batch.entities is not None
    _, _, asked = batch.masked.entities
    hidden = asked != IGNORED
    assert hidden.any()
    for row in range(len(asked)):
        in_text = set(batch.masked.words[row].tolist()) - {IGNORED}
        for word, is_hidden in zip(batch.entities.words[row].tolist(), hidden[row].tolist(), strict=True):
            assert is_hidden == (word in in_text)
    read = Words().hidden(torch.where(hidden, MASK, batch.entities.words), batch.entities.text_mask)
    rows = hidden.any(dim=1)
    torch.testing.assert_close(batch.masked.entities[0][rows], read[rows])


def test_the_slots_of_entities_do_not_matter_and_the_entities_do() -> None:
    """Defect 5: the released code reads one slot, most often padding, for every entity of an item."""
    model, batch = ege(graph_text=1.0), both()
    assert batch.entities is not None
    assert batch.entities.nodes is not None
    assert batch.entities.node_mask is not None
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(5))
    one = model.entity_vectors(batch.entities.nodes, batch.entities.node_mask)
    other = model.entity_vectors(batch.entities.nodes[order], batch.entities.node_mask[order])
    torch.testing.assert_close(one[order], other)
    cosines = one @ one.T
    assert float(cosines.fill_diagonal_(-1).max()) < 0.999
    model.remember(one)
    model.know(one)
    turned = replace(batch, entities=replace(batch.entities, numbers=batch.entities.numbers.flip(1)))
    wrong = replace(batch, entities=replace(batch.entities, numbers=(batch.entities.numbers + 1) % COUNT))
    torch.testing.assert_close(model.vectors(batch)[1], model.vectors(turned)[1])
    assert not torch.allclose(model.vectors(batch)[1], model.vectors(wrong)[1])


def test_features_and_boxes_keep_their_fractions() -> None:
    """Defect 6: the released code casts both to whole numbers, and its masked regions regress a constant."""
    model, batch = ege(), both()
    for name in ("pictures", "boxes"):
        value = getattr(batch, name)
        changed = replace(batch, **{name: value.trunc()})
        assert not torch.allclose(model.vectors(batch)[0], model.vectors(changed)[0])
    assert batch.masked is not None
    assert batch.masked.features.shape == (int(batch.masked.regions.sum()), WIDE)
    assert float(batch.masked.features.std()) > 0.1


def test_an_item_without_entities_is_its_text() -> None:
    model, batch = ege(graph_text=1.0), both()
    found = model.vectors(batch)[1]
    alone = model.capture.vectors(batch)[1]
    torch.testing.assert_close(found[-1], alone[-1])
    assert not torch.allclose(found[0], alone[0])
    torch.testing.assert_close(found.norm(dim=1), torch.ones(8))


def test_padding_of_sentences_and_nodes_changes_nothing() -> None:
    model, batch = ege(), both()
    assert batch.entities is not None
    assert batch.entities.nodes is not None
    texts, nodes = batch.entities.texts.clone(), batch.entities.nodes.clone()
    texts[~batch.entities.text_mask], nodes[~batch.entities.node_mask] = 9, 9  # type: ignore[operator]
    other = replace(batch, entities=replace(batch.entities, texts=texts, nodes=nodes))
    torch.manual_seed(1)
    before = model(batch)
    torch.manual_seed(1)
    after = model(other)
    for name in ("ntxent", "image_entity", "node", "subgraph"):
        torch.testing.assert_close(before[name], after[name])


@pytest.mark.parametrize("name", ["image_entity", "entity_mlm", "node", "subgraph"])
def test_a_batch_of_8_is_learned_by_heart(name: str) -> None:
    none = {"image_entity": 0.0, "entity_mlm": 0.0, "node": 0.0, "subgraph": 0.0}
    model = ege(base={"mlm": 0.0, "mrm": 0.0, "ntxent": 1.0}, **{**none, name: 1.0}).train()
    model.capture.weights["ntxent"] = 0.0
    batch = both()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    first, last = 0.0, 0.0
    for _ in range(150):
        found = model(batch)
        assert set(found) == {name}
        optimiser.zero_grad()
        found[name].backward()
        optimiser.step()
        last = float(found[name].detach())
        first = first or last
    assert last < 0.1 * first


def test_losses_in_bf16_are_finite_and_near_those_in_float32() -> None:
    model, batch = ege(), both()
    torch.manual_seed(1)
    wanted = model(batch)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(batch)
    for name, loss in wanted.items():
        assert found[name].float().isfinite()
        assert float(found[name]) == pytest.approx(float(loss), rel=0.1, abs=0.03)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"positive": 0.4}, "negative 0.5, positive 0.4"),
        ({"contrasted": "both"}, "contrasted 'both'"),
        ({"base": {"loss_on": "post"}}, "loss_on: pre"),
    ],
)
def test_values_that_do_not_fit(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ege(**values)


def test_a_batch_without_entities_is_refused() -> None:
    with pytest.raises(ValueError, match="no entities"):
        ege()(with_masked(make_batch()))


def test_the_evidence_of_the_graph_is_read_through_a_map_that_learns() -> None:
    model, batch = ege(graph_text=1.0, knows="evidence"), both()
    model.know(torch.randn(COUNT, KNOWN, generator=torch.Generator().manual_seed(2)))
    found = model(batch)
    assert "tell.weight" in reached(model, found["ntxent"])
    assert not {name for name in reached(model, model(batch)["node"]) if name.startswith("tell")}
    other = ege(graph_text=1.0, knows="evidence")
    other.know(torch.zeros(COUNT, KNOWN))
    assert float(other(batch)["ntxent"]) != float(found["ntxent"])
