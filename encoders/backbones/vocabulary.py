"""A vocabulary of one's own captions, for languages that the packaged tokenizer cannot read.

MiniLM knows 488 Chinese characters: of Product1M's titles two tokens in three are [UNK] to it. Here WordPiece is
learned from the training captions, in BERT's way: lower case, and each CJK character a word of its own. Half of a
word's vector is the company it keeps in the captions, the strongest directions of positive pointwise mutual information
(Levy and Goldberg, NIPS 2014), and half is random, its own. Places are added as sines (Vaswani et al., 2017). What a
word means in its sentence is left to the trained text layers of the encoder above.

Where bert-base-chinese can be fetched, name it as the backbone instead.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from encoders.backbones.base import TextBackbone, TextTokens, token_ends, weights_hash
from kg.errors import BadInput

__all__ = ["UNKNOWN_LIMIT", "VOCABULARY", "Vocabulary", "learn_vocabulary", "unknown_share", "warn_unknown"]

log = logging.getLogger(__name__)

VOCABULARY = "vocabulary"  # as text.backbone of a config
UNKNOWN_LIMIT = 0.1  # share of [UNK] above which a training warns
PAD, UNK, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = "words.safetensors"
SAMPLE = 10_000
STRENGTH = 0.3  # of the places beside the words, whose numbers have the mean square 1
CHUNK = 4096  # captions counted at a time


class Vocabulary:
    """A folder that `learn_vocabulary` wrote, as a `TextBackbone`.

    Args:
        folder: of the tokenizer and the vectors.
        places: most tokens of a text.
        device: of torch.

    Raises:
        BadInput: the folder holds no vocabulary.
    """

    def __init__(self, folder: Path | str, *, places: int = 48, device: torch.device | str = "cpu") -> None:
        from transformers import PreTrainedTokenizerFast

        folder = Path(folder)
        if not (folder / WORDS).is_file() or not (folder / "tokenizer.json").is_file():
            raise BadInput(f"{folder} holds no vocabulary: {WORDS} and tokenizer.json are needed")
        self.tokenizer: Any = PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"),
            **dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True)),
        )
        self.places, self.device = places, torch.device(device)
        self.words = load_file(folder / WORDS)["words"].to(self.device)
        self.width = self.words.shape[1]
        self.vocabulary = torch.arange(len(SPECIAL), len(self.words))
        self.mask_id: int | None = SPECIAL.index(MASK)
        self.upper: list[dict[str, Tensor]] = []
        self._sines = STRENGTH * sines(places, self.width).to(self.device)
        rules = (folder / "tokenizer.json").read_text(encoding="utf-8")
        self.ends = token_ends(rules)
        self.fingerprint = weights_hash({"words": self.words}, f"{places} tokens, sines {STRENGTH}", rules)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(list(texts), truncation=True, max_length=self.places)["input_ids"] if texts else []

    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        return (self.words[ids] + self._sines[: ids.shape[1]]) * mask[..., None]

    @torch.inference_mode()
    def tokens(self, texts: Sequence[str]) -> TextTokens:
        found = [torch.tensor(ids) for ids in self.ids(texts)]
        ids = torch.nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=0).to(self.device)
        lengths = torch.tensor([len(one) for one in found], device=self.device)
        mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        return TextTokens(self.hidden(ids, mask), mask)

    def save_tokenizer(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _save(self.tokenizer.backend_tokenizer, self.words.cpu(), folder)


def learn_vocabulary(
    captions: Iterable[str], folder: Path, *, size: int = 8000, least: int = 2, width: int = 256, seed: int = 0
) -> None:
    """Learns words and their vectors, and writes them under `folder`; the same captions give the same files.

    Args:
        captions: of the training items only.
        folder: is made.
        size: most words; the vectors take memory by its square while they are learned.
        least: how often a word must occur.
        width: of a vector; fewer words than that leave zeros.
        seed: of the special tokens' vectors, and of those of words that keep no company.

    Raises:
        BadInput: the captions have no words.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    texts = list(captions)
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNK))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, handle_chinese_chars=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=least,
        special_tokens=list(SPECIAL),
        limit_alphabet=size // 2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() <= len(SPECIAL):
        raise BadInput(f"{len(texts)} captions hold no words to learn", hint="ingest products with titles")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}", special_tokens=[(CLS, SPECIAL.index(CLS)), (SEP, SPECIAL.index(SEP))]
    )
    folder.mkdir(parents=True, exist_ok=True)
    _save(tokenizer, word_vectors(_counts(tokenizer, texts), width, seed=seed), folder)


def unknown_share(backbone: TextBackbone, texts: Sequence[str]) -> float:
    """Share of [UNK] among the tokens of the texts, special tokens aside; 0 where the tokenizer has no [UNK]."""
    tokenizer = getattr(backbone, "tokenizer", None)
    unknown = getattr(tokenizer, "unk_token_id", None)
    if tokenizer is None or unknown is None:
        return 0.0
    special = set(tokenizer.all_special_ids) - {unknown}
    found = [word for ids in backbone.ids(texts) for word in ids if word not in special]
    return found.count(unknown) / max(len(found), 1)


def warn_unknown(backbone: TextBackbone, texts: Sequence[str], *, limit: float = UNKNOWN_LIMIT) -> float:
    """`unknown_share` (of 10,000 texts, where there are more), said aloud where it is above `limit`: an encoder cannot
    learn from words that it cannot read."""
    share = unknown_share(backbone, texts[:: len(texts) // SAMPLE + 1])
    if share > limit:
        log.warning(
            "the tokenizer of the text backbone cannot read %.0f %% of the words of the captions ([UNK]); name a model "
            'of their language as text.backbone, or "vocabulary" to learn one from the captions',
            100 * share,
        )
    return share


def word_vectors(counts: Tensor, width: int, *, seed: int = 0) -> Tensor:
    """(V, V) captions that hold both words, to (V, width), of mean square 1 over all words: half is the company that a
    word keeps, half is random; special tokens and words without company are random alone."""
    random = torch.randn(len(counts), width, generator=torch.Generator().manual_seed(seed))
    counts = counts.double()
    each = counts.sum(dim=1)
    expected = each[:, None] * each / each.sum().clamp(min=1)
    information = torch.where(counts > 0, (counts / expected.clamp(min=1e-12)).log(), 0.0).clamp(min=0)
    directions, strengths = strongest(information, min(width, len(counts)))
    vectors = torch.zeros(len(counts), width)
    vectors[:, : len(strengths)] = (directions * strengths.sqrt()).float()
    alone = vectors.square().sum(dim=1) < 1e-8
    alone[: len(SPECIAL)] = True
    scale = vectors[~alone].square().mean().sqrt().clamp(min=1e-8) if (~alone).any() else torch.tensor(1.0)
    # Red and blue keep the same company: the random half tells them apart.
    vectors = torch.where(alone[:, None], random, (vectors / scale + random) / math.sqrt(2))
    vectors[SPECIAL.index(PAD)] = 0
    return vectors


def sines(places: int, width: int) -> Tensor:
    """(places, width): half sines, half cosines, wavelengths from 2π to 20,000π."""
    half = (width + 1) // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half) / max(half, 1))
    angles = torch.arange(places)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]


def strongest(symmetric: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Eigenvectors (V, rank) of the largest eigenvalues (rank,), none below 0; the signs do not depend on chance."""
    if len(symmetric) <= 1024:
        values, vectors = torch.linalg.eigh(symmetric)
        values, vectors = values.flip(0)[:rank], vectors.flip(1)[:, :rank]
    else:  # block power iteration: all of them would take minutes
        start = torch.randn(len(symmetric), rank + 32, generator=torch.Generator().manual_seed(0)).to(symmetric)
        block = torch.linalg.qr(start).Q
        for _ in range(8):
            block = torch.linalg.qr(symmetric @ block).Q
        values, small = torch.linalg.eigh(block.T @ symmetric @ block)
        values, vectors = values.flip(0)[:rank], (block @ small).flip(1)[:, :rank]
    signs = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    return vectors * signs, values.clamp(min=0)


def _counts(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """(V, V): how many captions hold both words."""
    size = tokenizer.get_vocab_size()
    counts = torch.zeros(size, size)
    for start in range(0, len(texts), CHUNK):
        found = tokenizer.encode_batch(texts[start : start + CHUNK], add_special_tokens=False)
        held = torch.zeros(len(found), size)
        for number, one in enumerate(found):
            held[number, one.ids] = 1
        counts += held.T @ held
    counts[: len(SPECIAL)] = counts[:, : len(SPECIAL)] = 0
    return counts.fill_diagonal_(0)


def _save(tokenizer: Any, words: Tensor, folder: Path) -> None:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"words": words.contiguous()}, folder / WORDS)
