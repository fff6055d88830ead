from __future__ import annotations

import pytest
import torch

from encoders.masking import IGNORED, Rates, global_token, mask_regions, mask_words
from tests.encoders.batches import CLS, MASK, ORDINARY, PAD, SEP, Words, make_batch, with_masked


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def many_words() -> tuple[torch.Tensor, torch.Tensor]:
    ids = ORDINARY[torch.randint(len(ORDINARY), (400, 50), generator=draw(5))]
    ids[:, 0], ids[:, -1] = CLS, SEP
    words = torch.ones(ids.shape, dtype=torch.bool)
    words[:, 0] = words[:, -1] = False
    return ids, words


def test_words_are_hidden_at_the_published_rates() -> None:
    ids, words = many_words()
    masked, targets = mask_words(ids, words, ORDINARY, MASK, rate=0.15, draw=draw())
    asked = targets != IGNORED
    assert asked.sum().item() == pytest.approx(0.15 * words.sum().item(), rel=0.05)
    share = asked.sum().item()
    assert (masked[asked] == MASK).sum().item() / share == pytest.approx(0.8, abs=0.02)
    kept = (masked[asked] == ids[asked]).sum().item() / share
    assert kept == pytest.approx(0.1 + 0.1 / len(ORDINARY), abs=0.02)  # another word may be the same one
    others = masked[asked][(masked[asked] != MASK) & (masked[asked] != ids[asked])]
    assert len(others) / share == pytest.approx(0.1, abs=0.02)
    assert set(others.tolist()) <= set(ORDINARY.tolist())
    assert len(set(others.tolist())) == len(ORDINARY)  # any word may come


def test_what_is_not_asked_for_stays_and_targets_are_the_words() -> None:
    ids, words = many_words()
    masked, targets = mask_words(ids, words, ORDINARY, MASK, rate=0.15, draw=draw())
    asked = targets != IGNORED
    assert torch.equal(masked[~asked], ids[~asked])
    assert torch.equal(targets[asked], ids[asked])
    assert not asked[~words].any()  # special tokens and padding


@pytest.mark.parametrize("rate", [0.15, 1.0])
def test_words_equal_the_definition_written_out(rate: float) -> None:
    ids, words = many_words()
    masked, targets = mask_words(ids[:20], words[:20], ORDINARY, MASK, rate=rate, draw=draw(3))
    again = draw(3)
    order, fate = torch.rand(20, 50, generator=again), torch.rand(20, 50, generator=again)
    other = torch.randint(len(ORDINARY), (20, 50), generator=again)
    for i in range(20):
        for j in range(50):
            asked = bool(words[i, j]) and float(order[i, j]) < rate
            assert int(targets[i, j]) == (int(ids[i, j]) if asked else IGNORED)
            wanted = int(ids[i, j])
            if asked and fate[i, j] < 0.8:
                wanted = MASK
            elif asked and fate[i, j] < 0.9:
                wanted = int(ORDINARY[other[i, j]])
            assert int(masked[i, j]) == wanted


def test_one_word_at_least_and_none_where_there_are_none() -> None:
    ids = torch.tensor([[CLS, 9, SEP, PAD]])
    words = torch.tensor([[False, True, False, False]])
    for seed in range(20):
        _, targets = mask_words(ids, words, ORDINARY, MASK, rate=1e-6, draw=draw(seed))
        assert targets.tolist() == [[IGNORED, 9, IGNORED, IGNORED]]
    masked, targets = mask_words(ids, torch.zeros_like(words), ORDINARY, MASK, rate=0.9, draw=draw())
    assert torch.equal(masked, ids)
    assert (targets == IGNORED).all()


def test_rate_0_hides_nothing() -> None:
    batch = make_batch()
    found = with_masked(batch, rates=Rates(0.0, 0.0)).masked
    assert found is not None
    assert torch.equal(found.texts, batch.texts)
    assert torch.equal(found.pictures, batch.pictures)
    assert (found.words == IGNORED).all()
    assert not found.regions.any()


def test_the_seed_decides() -> None:
    batch = make_batch()
    first, again, other = (with_masked(batch, seed=seed).masked for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert torch.equal(first.words, again.words)
    assert torch.equal(first.pictures, again.pictures)
    assert not (torch.equal(first.words, other.words) and torch.equal(first.pictures, other.pictures))


def test_regions_are_hidden_at_the_published_rates() -> None:
    pictures, mask = torch.rand(600, 20, 3, generator=draw(1)) + 1, torch.ones(600, 20).bool()
    mask[:, 15:] = False
    found, asked = mask_regions(pictures, mask, rate=0.15, draw=draw(2))
    assert asked.sum().item() == pytest.approx(0.15 * 600 * 14, rel=0.05)
    assert not asked[:, 0].any()  # the global token
    assert not asked[:, 15:].any()  # padding
    zero = (found == 0).all(dim=2)
    assert zero[asked].float().mean().item() == pytest.approx(0.9, abs=0.02)
    assert torch.equal(found[:, 1:][~zero[:, 1:]], pictures[:, 1:][~zero[:, 1:]])


def test_the_global_token_does_not_tell_what_is_hidden() -> None:
    pictures, mask = torch.randn(40, 6, 3, generator=draw(1)), torch.ones(40, 6).bool()
    mask[:20, 5] = False
    masked, asked = mask_regions(pictures, mask, rate=0.5, draw=draw(2))
    hidden = asked & (masked == 0).all(dim=2)
    assert hidden.any()
    changed = pictures.clone()
    changed[hidden] = 99
    changed[:, 0] = 99  # pooled over the picture, it would change as well
    again, _ = mask_regions(changed, mask, rate=0.5, draw=draw(2))
    assert torch.equal(masked, again)
    for i in range(40):
        rows = masked[i, 1:][mask[i, 1:]]
        torch.testing.assert_close(masked[i, 0], rows.mean(dim=0))


def test_a_picture_without_regions_keeps_its_global_token() -> None:
    pictures = torch.randn(3, 4, 5)
    mask = torch.zeros(3, 4).bool()
    mask[:, 0] = True
    mask[0] = True
    found = global_token(pictures, mask)
    assert torch.equal(found[1:], pictures[1:, 0])
    torch.testing.assert_close(found[0], pictures[0, 1:].mean(dim=0))
    masked, asked = mask_regions(pictures[1:], mask[1:], rate=0.9, draw=draw())
    assert torch.equal(masked, pictures[1:])
    assert not asked.any()


def test_one_region_at_least() -> None:
    for seed in range(20):
        _, asked = mask_regions(torch.randn(2, 5, 3), torch.ones(2, 5).bool(), rate=1e-6, draw=draw(seed))
        assert asked.sum() == 1


def test_texts_of_any_length_share_a_batch() -> None:
    """Words that changed are read again, in passes of like length; the others keep their tokens."""
    batch = make_batch(80)
    text = Words()
    for seed in range(3):
        found = with_masked(batch, seed=seed, rates=Rates(0.05, 0.0)).masked
        assert found is not None
        draw_ = draw(seed)
        ordinary = torch.isin(batch.words, ORDINARY)
        masked, _ = mask_words(batch.words, batch.text_mask & ordinary, ORDINARY, MASK, rate=0.05, draw=draw_)
        wanted = torch.where(
            (masked != batch.words).any(dim=1)[:, None, None], text.hidden(masked, batch.text_mask), batch.texts
        )
        assert torch.equal(found.texts[batch.text_mask], wanted[batch.text_mask])


def test_the_frozen_text_model_reads_the_masked_words() -> None:
    """Else the tokens of the neighbours would tell the word."""
    from encoders.backbones import text_backbone
    from encoders.preparing import masked
    from encoders.tables import Batch

    backbone = text_backbone("minilm")
    ids = torch.tensor(backbone.ids(["a red shoe with white laces"] * 4))
    mask = torch.ones(ids.shape, dtype=torch.bool)
    batch = Batch(
        torch.zeros(4, 1, 3),
        torch.zeros(4, 1, 5),
        torch.ones(4, 1).bool(),
        backbone.hidden(ids, mask),
        mask,
        torch.zeros(4, 2).long(),
        ids,
    )
    found = masked(batch, backbone, Rates(0.4, 0.0), draw(1)).masked
    assert found is not None
    asked = found.words != IGNORED
    assert asked.any()
    assert not asked[:, [0, -1]].any()
    row = int(asked.any(dim=1).nonzero()[0])
    neighbours = ~asked[row]
    assert not torch.allclose(found.texts[row][neighbours], batch.texts[row][neighbours], atol=1e-3)
