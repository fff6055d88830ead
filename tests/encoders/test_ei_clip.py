"""The learner on batches drawn by hand, and whole trainings on drawn shapes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import encoders
from encoders.appending import READING
from encoders.backbones import text_backbone
from encoders.checkpoint import write
from encoders.clip_style import ClipStyle
from encoders.config import load_config
from encoders.confounding import FILE, read_confounding
from encoders.data import TrainItem
from encoders.dual import DualEncoder
from encoders.ei_clip import EiClip, Learner
from encoders.entities import Vocabulary, open_lexicon
from encoders.protocol import EntityEncoder, entity_encoder, takes_entities
from encoders.table_start import table_start
from encoders.tables import Batch
from encoders.training import TrainReport, train
from kg.errors import BadInput, EncoderMismatch, NotFound
from tests.encoders.batches import REGIONS, TEXT, WIDE, WORDS, make_batch, with_masked
from tests.encoders.conftest import COLOURS, SHAPES, draw
from tests.encoders.test_capture import capture, reached
from tests.encoders.test_ege_cmp import ege, with_entities

DIM, CHOSEN, TYPES = 32, 6, 2
OUTSIDE = {"width": 32, "layers": 1, "heads": 4, "dim": DIM}


def learner(**values: Any) -> Learner:
    torch.manual_seed(1)
    found = Learner(places=CHOSEN + TYPES, types=TYPES, dim=DIM, width=16, hidden=32, **values)
    found.tell(torch.tensor([0, 0, 0, 1, 1, 1, 0, 1]), torch.arange(8).float())
    return found


def clip(places: int = WORDS) -> ClipStyle:
    torch.manual_seed(0)
    picture = {**OUTSIDE, "inside": WIDE, "places": REGIONS}
    return ClipStyle(picture=picture, text={**OUTSIDE, "inside": TEXT, "places": places})


def model(base: Any = None, **values: Any) -> EiClip:
    auxiliary = values.pop("auxiliary", 0.0)
    base = base or clip()
    return EiClip(base, learner(**values), dim=DIM, auxiliary=auxiliary).eval()


def structured(batch: Batch) -> Batch:
    """Two entities an item, the last has none."""
    places = torch.stack([torch.tensor([n % CHOSEN, CHOSEN + n % TYPES, -1]) for n in range(len(batch.identity))])
    places[-1] = -1
    return replace(batch, structured=places)


@pytest.mark.parametrize("auxiliary", [0.0, 0.3])
def test_every_part_learns(auxiliary: float) -> None:
    found = model(auxiliary=auxiliary)
    losses = found(structured(make_batch()))
    assert set(losses) == {"info_nce"} | ({"names_picture", "names_text"} if auxiliary else set())
    names = reached(found, losses["info_nce"])
    for part in ("table", "types", "gate", "dictionary_gate", "dictionary_asks.weight", "asks.weight", "exit.weight"):
        assert f"learner.{part}" in names, part
    found.zero_grad()
    torch.stack(list(found(structured(make_batch())).values())).sum().backward()
    parameters = dict(found.named_parameters())
    assert (parameters["learner.table"].grad.abs().sum(dim=1) > 0).all()  # type: ignore[union-attr]
    if auxiliary:
        names = reached(found, found(structured(make_batch()))["names_picture"])
        assert {"heads.0.weight", "base.picture.entry.1.weight"} <= names


def test_tokens_beside_the_caption() -> None:
    batch = structured(make_batch())
    found = EiClip(clip(WORDS + 3), wide(), dim=DIM, places=WORDS + 3).eval()
    names = reached(found, found(batch)["info_nce"])
    assert {"learner.table", "learner.types", "learner.dictionary_gate", "base.text.place"} <= names
    texts, mask = wide().beside(batch.texts, batch.text_mask, batch.structured, WORDS + 3)
    assert texts.shape[1] == batch.texts.shape[1] + 3
    torch.testing.assert_close(texts[:, :-3], batch.texts)
    assert (mask[:-1] == (torch.arange(WORDS + 3) < WORDS + 2)).all()  # the last has no entity, and two words less
    assert (mask[-1] == (torch.arange(WORDS + 3) < WORDS - 2)).all()
    short, _ = wide().beside(batch.texts, batch.text_mask, batch.structured, 5)
    assert short.shape[1] == 5  # the caption makes room
    cut, there = wide().beside(batch.texts, batch.text_mask, batch.structured, WORDS + 1)
    torch.testing.assert_close(
        cut[0, : WORDS - 1], batch.texts[0, : WORDS - 1]
    )  # for two entities, whatever others have
    assert there.sum(dim=1).tolist() == [WORDS + 1] * 7 + [WORDS - 2]
    whole, _ = wide().beside(batch.texts, batch.text_mask, torch.full_like(batch.structured, -1), WORDS)  # type: ignore[arg-type]
    torch.testing.assert_close(whole, batch.texts)
    alone = EiClip(found.base, wide(dictionary=False), dim=DIM, places=WORDS + 3).eval()
    bare = replace(batch, structured=torch.full_like(batch.structured, -1))
    torch.testing.assert_close(alone.vectors(bare)[1], found.base.vectors(batch)[1], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="fusion 'sum'"):
        wide(fusion="sum")


@pytest.mark.parametrize("tokens", [False, True])
def test_alone_as_in_a_batch(tokens: bool) -> None:
    """A short caption among long ones."""
    found = EiClip(clip(WORDS + 3), wide() if tokens else learner(), dim=DIM, places=WORDS + 3).eval()
    batch = structured(make_batch())
    short = torch.where(torch.arange(8)[:, None] == 2, torch.arange(WORDS) < 4, batch.text_mask)
    together = found.text_vectors(batch.texts, short, structured=batch.structured)
    alone = found.text_vectors(batch.texts[2:3, :4], short[2:3, :4], structured=batch.structured[2:3])  # type: ignore[index]
    torch.testing.assert_close(alone, together[2:3], atol=1e-5, rtol=0)
    other = found.text_vectors(batch.texts[2:3, :4], short[2:3, :4], structured=torch.full((1, 3), -1))
    assert not torch.allclose(alone, other, atol=1e-3)


def wide(**values: Any) -> Learner:
    """Its table is as wide as the caption's tokens."""
    torch.manual_seed(1)
    settings = {"fusion": "tokens", **values}
    found = Learner(places=CHOSEN + TYPES, types=TYPES, dim=DIM, width=TEXT, hidden=32, **settings)
    found.tell(torch.tensor([0, 0, 0, 1, 1, 1, 0, 1]), torch.arange(8).float())
    return found


def test_frozen_table_and_no_dictionary() -> None:
    frozen = model(freeze=True)
    names = reached(frozen, frozen(structured(make_batch()))["info_nce"])
    assert "learner.table" not in names
    assert "learner.types" in names
    assert not any("dictionary" in name for name, _ in model(dictionary=False).named_parameters())


def test_without_entities_it_is_the_text() -> None:
    plain, batch = clip().eval(), structured(make_batch())
    wanted = plain.vectors(batch)[1]
    bare = model(dictionary=False).vectors(batch)[1]
    torch.testing.assert_close(bare[-1], wanted[-1])
    assert not torch.allclose(bare[0], wanted[0])
    none = replace(batch, structured=torch.full_like(batch.structured, -1))
    found = model().vectors(none)[1]
    assert found.isfinite().all()
    torch.testing.assert_close(found.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(model().vectors(replace(batch, structured=None))[1], wanted)
    torch.testing.assert_close(EiClip(clip(), None, dim=DIM).eval().vectors(batch)[1], wanted)


def test_the_start_is_near_the_base() -> None:
    plain, batch = clip().eval(), structured(make_batch())
    cosines = (plain.vectors(batch)[1] * model().vectors(batch)[1]).sum(dim=1)
    assert float(cosines.detach().min()) > 0.95


def test_entities_tell_equal_captions_apart_in_any_order() -> None:
    batch = structured(make_batch())
    batch = replace(batch, texts=batch.texts[:1].expand_as(batch.texts), text_mask=batch.text_mask[:1].repeat(8, 1))
    found = model().vectors(batch)[1]
    assert float((found[0] - found[1]).abs().max()) > 1e-4
    turned = replace(batch, structured=batch.structured.flip(1))  # type: ignore[union-attr]
    torch.testing.assert_close(found, model().vectors(turned)[1])


def test_the_dictionary_keeps_its_size() -> None:
    """However many entities share the table: weights sum to 1."""
    torch.manual_seed(0)
    texts, sizes = torch.nn.functional.normalize(torch.randn(4, DIM), dim=1), []
    for places in (10, 1000):
        found = Learner(places=places, types=1, dim=DIM, width=16, hidden=32).eval()
        found.types.data.fill_(0.3)  # what all have in common outlasts the mean
        found.tell(torch.zeros(places, dtype=torch.int64), torch.ones(places))
        sizes.append(
            found(texts, torch.full((4, 3), -1)).norm(dim=1).mean().item()
            / found.exit(found.meanings()[1])[0].norm().item()
        )
    assert 0.5 < sizes[0] / sizes[1] < 2


def test_what_is_frequent_weighs_more_in_the_dictionary() -> None:
    found = learner().eval()
    for part in (found.dictionary_asks, found.dictionary_answers):
        part.weight.data.zero_()
        part.bias.data.zero_()
    texts, none = torch.nn.functional.normalize(torch.randn(2, DIM), dim=1), torch.full((2, 1), -1)
    wanted = (found.log_share.exp()[:, None] * found.exit(found.meanings()[1])).sum(dim=0) * found.dictionary_gate
    torch.testing.assert_close(found(texts, none), wanted.expand(2, -1))


@pytest.mark.parametrize("base", ["clip_style", "capture", "ege_cmp"])
def test_eight_items_by_heart(base: str) -> None:
    """Equal captions: what tells the items apart are their entities alone."""
    losses = {"mlm": 0.0, "mrm": 0.0}
    bases: dict[str, Callable[[], Any]] = {
        "clip_style": clip,
        "capture": lambda: capture(dim=DIM, **losses),
        "ege_cmp": lambda: ege(base={"dim": DIM, **losses}, image_entity=0.0, entity_mlm=0.0, node=0.0, subgraph=0.0),
    }
    found = EiClip(bases[base](), learner(dropout=0.0), dim=DIM).train()
    batch = make_batch()
    batch = replace(
        batch,
        texts=batch.texts[:1].repeat(8, 1, 1),
        text_mask=batch.text_mask[:1].repeat(8, 1),
        structured=torch.arange(8)[:, None],
    )
    if base == "ege_cmp":
        batch = with_entities(batch)
        assert batch.entities is not None
        batch = replace(batch, entities=replace(batch.entities, numbers=torch.full_like(batch.entities.numbers, -1)))
    optimiser = torch.optim.AdamW([p for p in found.parameters() if p.requires_grad], lr=3e-3, weight_decay=0.0)
    first = last = 0.0
    for _ in range(150):
        loss = next(iter(found(batch).values()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        last = float(loss.detach())
        first = first or last
    assert last < 0.1 * first


def test_the_base_keeps_its_other_losses() -> None:
    found = model(capture(dim=DIM))
    batch = with_masked(structured(make_batch()), seed=3)
    plain, losses = capture(dim=DIM).eval()(batch), found(batch)
    assert set(losses) == set(plain)
    for name in set(plain) - {"ntxent"}:
        torch.testing.assert_close(losses[name], plain[name])
    assert float(losses["ntxent"].detach()) != float(plain["ntxent"].detach())
    seen = found.fused_vectors(batch.pictures, batch.boxes, batch.picture_mask, batch.texts, batch.text_mask)
    assert seen[0].shape == (8, DIM)
    assert not hasattr(model(), "fused_vectors")


# Whole trainings. The brand "Orange" is of black things, as is "Nord"; oranges are "Nord": that word misleads, and the
# colours do not.

UNSEEN = ("brand", "Never Seen")


def stock() -> list[TrainItem]:
    found = []
    for number in range(192):
        colour, shape = (*COLOURS, "orange", "black")[number % 8], SHAPES[number // 8 % 3]
        brand = "Orange" if number % 8 == 7 else "Nord"
        found.append(
            TrainItem(
                f"p{number}", f"p{number}", f"{brand} {colour} {shape}", partial(draw, colour, shape, number // 24),
                split=("train", "train", "train", "val")[number // 48],  # type: ignore[arg-type]
                entities=(("brand", brand), ("colour", colour.title()), ("shape", shape)),
            )
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ei")


def run(work: Path, features: Path, name: str, items: list[TrainItem] | None = None, **changes: Any) -> TrainReport:
    config = load_config("ei_clip_tiny+masking+not_appended", epochs=3)
    for path, value in changes.items():
        part, _, last = path.partition("__")
        if last:
            config[part][last] = value
        else:
            config[part] = value
    path = work / f"{name}.json"
    path.write_text(json.dumps(config))
    return train(
        "ei_clip", items or stock(), work / name, config=path, device="cpu", cache=features, tables=work / "tables"
    )


@pytest.fixture(scope="module")
def checkpoint(work: Path, features: Path) -> Path:
    run(work, features, "ei")
    return work / "ei"


def opened(folder: Path) -> DualEncoder:
    found = encoders.load(folder, device="cpu")
    assert isinstance(found, DualEncoder)
    return found


def test_the_misleading_brand_is_chosen(checkpoint: Path) -> None:
    rows = {row.key: row for row in read_confounding(checkpoint)}
    assert set(rows) == {
        "brand:orange",
        "brand:nord",
        *(f"colour:{c}" for c in COLOURS),
        *(f"shape:{s}" for s in SHAPES),
    }
    clean = [rows[f"colour:{colour}"] for colour in COLOURS]
    assert rows["brand:orange"].chosen
    assert rows["brand:orange"].mismatch > max(row.mismatch for row in clean)
    drops = [row.drop_in_loss for row in clean]
    assert all(drop is not None and drop < rows["brand:orange"].drop_in_loss for drop in drops)  # type: ignore[operator]


def test_selection_is_of_training_items_alone(work: Path, features: Path, checkpoint: Path) -> None:
    other = [
        item if item.part == "train" else replace(item, text="Orange orange cross", entities=(("brand", "Never"),) * 2)
        for item in stock()
    ]
    other += [replace(item, id=f"{item.id}t", key=f"{item.id}t", split="test") for item in stock()[:30]]
    run(work, features, "others", other, training__epochs=1)
    assert read_confounding(work / "others") == read_confounding(checkpoint)


def test_saved_and_opened_it_gives_the_same(checkpoint: Path, tmp_path: Path) -> None:
    one = opened(checkpoint)
    one.save_pretrained(tmp_path / "copy")
    other = opened(tmp_path / "copy")
    texts, given = ["Orange black cross", "a cross"], [[("brand", "Orange")], [UNSEEN]]
    assert other.fingerprint == one.fingerprint
    np.testing.assert_array_equal(one.encode_texts(texts, given), other.encode_texts(texts, given))
    (tmp_path / "copy" / FILE).write_text((checkpoint / FILE).read_text().replace("true", "false", 1))
    with pytest.raises(EncoderMismatch, match="its entities are not those"):
        opened(tmp_path / "copy")
    (tmp_path / "copy" / FILE).unlink()
    with pytest.raises(NotFound, match="knows no confounding entities"):
        opened(tmp_path / "copy")


def test_entities_given_half_given_and_none(checkpoint: Path) -> None:
    encoder = entity_encoder(opened(checkpoint))
    assert isinstance(encoder, EntityEncoder)
    items = stock()[:24]
    texts, given = [item.text for item in items], [item.entities for item in items]
    whole = encoder.encode_texts(texts, given)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    clear = [n for n, text in enumerate(texts) if "orange" not in text.lower()]  # else brand or colour?
    np.testing.assert_allclose(encoder.encode_texts(texts)[clear], whole[clear], atol=1e-5)
    said = encoder.encode_texts(["a thing"] * 24, given)
    assert np.abs(said - encoder.encode_texts(["a thing"] * 24)).max() > 1e-3
    alone = np.concatenate([encoder.encode_texts([t], [e]) for t, e in zip(texts, given, strict=True)])
    np.testing.assert_allclose(alone, whole, atol=1e-5)
    pictures = [item.open_picture() for item in items]
    both = encoder.encode_items(pictures, ["a thing"] * 24, given)
    assert np.abs(both - encoder.encode_items(pictures, ["a thing"] * 24)).max() > 1e-3


def test_an_unseen_brand_is_unknown_and_finite(checkpoint: Path) -> None:
    encoder = opened(checkpoint)
    one, other, none, kind = encoder.encode_texts(
        ["a cross"] * 4, [[UNSEEN], [("brand", "Other")], [], [("material", "wool")]]
    )
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.abs(one - none).max() > 1e-4
    np.testing.assert_allclose(none, kind, atol=1e-6)
    assert np.isfinite(one).all()


def test_with_nothing_chosen_it_is_the_base(work: Path, features: Path) -> None:
    run(work, features, "none", learner__score="none")
    config = load_config("clip_style_tiny", epochs=3)
    (work / "plain.json").write_text(json.dumps(config))
    train("clip_style", stock(), work / "plain", config=work / "plain.json", device="cpu", cache=features,
          tables=work / "tables")  # fmt: skip
    texts = [item.text for item in stock()]
    np.testing.assert_array_equal(opened(work / "none").encode_texts(texts), opened(work / "plain").encode_texts(texts))
    assert not takes_entities(opened(work / "plain"))
    with pytest.raises(BadInput, match="it takes no entities"):
        opened(work / "plain").encode_texts(["a"], [[UNSEEN]])


def test_appended_entities_are_read_as_text(work: Path, features: Path) -> None:
    config = load_config("clip_style_tiny", epochs=1)
    config["text"]["appended"] = True
    (work / "appended.json").write_text(json.dumps(config))
    train("clip_style", stock(), work / "appended", config=work / "appended.json", device="cpu", cache=features,
          tables=work / "tables")  # fmt: skip
    encoder = opened(work / "appended")
    assert takes_entities(encoder)
    np.testing.assert_allclose(
        encoder.encode_texts(["a cross"], [[("brand", "Nord"), ("category", "a > b")]]),
        encoder.encode_texts(["a cross. Nord, b"]),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"base": "uniter_style"}, "base 'uniter_style'"),
        ({"base": None}, "base None"),
        ({"learner": None}, "needs a part learner"),
        ({"learner__start": "nowhere"}, "nowhere is no encoder"),
        ({"learner__score": "best"}, r"learner\.score = 'best'"),
        ({"learner__share": 1.5}, r"learner\.share = 1\.5"),
    ],
)
def test_configs_that_do_not_fit(work: Path, features: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises((BadInput, NotFound), match=words):
        run(work, features, "bad", **values)


def test_the_table_starts_where_it_is_told(work: Path, features: Path, checkpoint: Path) -> None:
    with pytest.raises(BadInput, match="of 'ei_clip', and remembers no entities"):
        run(work, features, "bad", learner__start="ei")
    run(work, features, "read", learner__start="text", learner__freeze_table=True, training__epochs=1)
    run(work, features, "random", learner__freeze_table=True, training__epochs=1)
    tables = [opened(work / name).model.learner.table for name in ("read", "random")]  # type: ignore[attr-defined]
    chosen = tables[0].shape[0] - len(opened(work / "read").lexicon.types)  # type: ignore[union-attr]
    assert not torch.allclose(tables[0][:chosen], tables[1][:chosen])
    torch.testing.assert_close(tables[0][chosen:], tables[1][chosen:])


def test_an_ege_cmp_that_remembers_nothing_is_no_start(checkpoint: Path, tmp_path: Path) -> None:
    lexicon = opened(checkpoint).lexicon
    assert lexicon is not None
    write(tmp_path, {"encoder": "ege_cmp"}, {"memory": torch.zeros(0, DIM)})
    Vocabulary((), 4).save(tmp_path)
    with pytest.raises(BadInput, match="remembers no entities"):
        table_start(lexicon, str(tmp_path), 16, text_backbone("minilm"))


def test_a_mask_word_that_the_tokenizer_has_not(checkpoint: Path) -> None:
    text = SimpleNamespace(tokenizer=SimpleNamespace(mask_token=None))
    settings = {"per_item": 4, "mask": "token"}
    with pytest.raises(BadInput, match=r"learner\.mask 'token': the text backbone's tokenizer has no mask token"):
        open_lexicon(checkpoint, settings, text)  # type: ignore[arg-type]
    assert open_lexicon(checkpoint, settings | {"mask": "remove"}, text).mask == "remove"  # type: ignore[arg-type]
    assert open_lexicon(checkpoint, settings, text_backbone("minilm")).token == "[MASK]"


def test_a_mask_word_is_asked_for_before_a_picture_is_opened(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = SimpleNamespace(tokenizer=SimpleNamespace(mask_token=None))
    monkeypatch.setattr("encoders.training.text_backbone", lambda *_, **__: text)
    monkeypatch.setattr("encoders.training.prepare_detector", lambda *_, **__: pytest.fail("there is work before it"))
    with pytest.raises(BadInput, match=r"learner\.mask 'token': the text backbone's tokenizer has no mask token"):
        run(work, work, "no_mask", learner__mask="token")


def test_other_entities_are_another_training(work: Path, features: Path) -> None:
    """Two items exchange colours that their texts do not say: the lexicon is what it was."""
    items = [replace(item, text=item.text.split()[2]) for item in stock()]
    assert not run(work, features, "again", items, training__epochs=1).unchanged
    assert run(work, features, "again", items, training__epochs=1).unchanged
    items[0], items[1] = (
        replace(items[n], entities=(items[n].entities[0], items[1 - n].entities[1], items[n].entities[2]))
        for n in (0, 1)
    )
    assert not run(work, features, "again", items, training__epochs=1).unchanged


def test_a_training_that_is_cut_short_at_the_end_leaves_no_old_encoder(
    work: Path, features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there of the new one is not taken for the old one's."""
    run(work, features, "cut", training__epochs=1)

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("encoders.known_entities.write_confounding", full)
    with pytest.raises(OSError, match="no space left"):
        run(work, features, "cut", training__epochs=2)
    with pytest.raises(NotFound, match="is no encoder"):
        opened(work / "cut")


# The form that is packaged: facts as words and as vectors, nothing masked.


@pytest.fixture(scope="module")
def usual(work: Path, features: Path) -> DualEncoder:
    train("ei_clip", stock(), work / "usual", config="ei_clip_tiny", epochs=2, device="cpu", cache=features,
          tables=work / "tables")  # fmt: skip
    return opened(work / "usual")


def test_the_packaged_form_with_all_half_and_none(usual: DualEncoder) -> None:
    """What is given is read as if the text said it, and what is not is looked for in the text alone."""
    assert usual.appended
    assert usual.lexicon is not None
    assert usual.lexicon.mask == "none"
    item = stock()[7]  # "Orange black circle"
    colour = item.entities[1:2]
    title, given = item.text, [item.entities, colour, ()]
    places = usual.lexicon.find([title] * 3, given)
    read = ["Orange black circle. Orange, Black, circle", "Orange black circle. Black", title]
    with torch.inference_mode():
        tokens = usual.text_backbone.tokens(read)
        wanted = usual.model.text_vectors(*tokens, structured=torch.from_numpy(places)).numpy()  # type: ignore[call-arg]
    found = usual.encode_texts([title] * 3, given)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(found[2:], usual.encode_texts([title]), atol=1e-5)
    assert min(np.abs(found[0] - found[1]).max(), np.abs(found[1] - found[2]).max()) > 1e-3
    all_, half, none = ({usual.lexicon.chosen[n].key for n in row if 0 <= n < len(usual.lexicon.chosen)}
                        for row in usual.lexicon.find(["a thing"] * 3, given))  # fmt: skip
    assert none == set()
    assert half == {"colour:black"} & set(usual.lexicon.places)
    assert all_ == {"brand:orange", "colour:black", "shape:circle"} & set(usual.lexicon.places)


def test_the_way_of_reading_is_part_of_an_encoder(
    usual: DualEncoder, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads((usual.folder / "config.json").read_text())["text"]["reading"] == READING
    monkeypatch.setattr("encoders.appending.READING", READING + 1)
    with pytest.raises(EncoderMismatch, match=f"texts in way {READING}, here they are read in way {READING + 1}"):
        opened(usual.folder)
    shutil.copytree(usual.folder, tmp_path / "new")
    report = train("ei_clip", stock(), tmp_path / "new", config="ei_clip_tiny", epochs=2, device="cpu", cache=features,
                   tables=usual.folder.parent / "tables")  # fmt: skip
    assert not report.unchanged
    assert report.fingerprint != usual.fingerprint


def test_texts_of_before_are_cut_as_they_were(usual: DualEncoder, tmp_path: Path) -> None:
    """Where masked, or read beside entities' vectors, they are not read so any more: refused, not read otherwise."""
    shutil.copytree(usual.folder, tmp_path / "old")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    del config["text"]["reading"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    old = opened(tmp_path / "old")
    assert not old.makes_room
    titles, given = ["a cross", "cross " * 60], [stock()[0].entities] * 2
    found, new = old.encode_texts(titles, given), usual.encode_texts(titles, given)
    np.testing.assert_allclose(found[0], new[0], atol=1e-6)
    assert np.abs(found[1] - new[1]).max() > 1e-4
    places = torch.from_numpy(old.lexicon.find(titles, given))  # type: ignore[union-attr]
    with torch.inference_mode():
        tokens = old.text_backbone.tokens([f"{title}. Nord, Red, circle" for title in titles])
        wanted = old.model.text_vectors(*tokens, structured=places).numpy()  # type: ignore[call-arg]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    for part, name, value in (
        ("learner", "mask", "remove"),
        ("learner", "fusion", "tokens"),
        ("model", "item", "post"),
    ):
        changed = {**config, part: {**config[part], name: value}}
        (tmp_path / "old" / "config.json").write_text(json.dumps(changed))
        with pytest.raises(EncoderMismatch, match=f"texts in way 1, here they are read in way {READING}"):
            opened(tmp_path / "old")
