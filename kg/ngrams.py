"""How often words stand beside each other, counted in bounded memory.

Captions become numbers of words in a temporary file; of each length only runs whose parts are frequent are counted
(Apriori), a block of captions at a time. Where even so there are too many, the rarest are dropped while counting (lossy
counting): what is kept may then count a few too low, never too high.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

__all__ = ["Grams", "count_grams"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
BREAK, END = -1, -2
BLOCK = 2_000_000  # words in memory at once
WORDS = 1_000_000  # different words in memory at once
ENTRIES = 8_000_000  # counts in memory at once


@dataclass(frozen=True)
class Grams:
    """Frequent runs of one length n.

    Attributes:
        words: (N, n) numbers of words, of `Counts.words`.
        df: (N,) captions with the run.
        cohesion: (N,) in [-1, 1]: normalised pointwise mutual information of the loosest split; 1 for single words.
        freedom: (N,) in [0, 1]: entropy of the words before or after it, whichever is less, in bits and at most one.
    """

    words: Ints
    df: Ints
    cohesion: Floats
    freedom: Floats


def count_grams(
    captions: Iterable[list[list[str]]], *, least_df: int, most_words: int
) -> tuple[list[str], int, list[Grams]]:
    """Frequent words, the number of captions, and the frequent runs of length 1, 2, … most_words.

    Args:
        captions: stretches of words.
        least_df: captions that a run must stand in.
        most_words: longest run.
    """
    with tempfile.TemporaryFile() as file:
        store = _Store(file)
        for stretches in captions:
            store.add(stretches)
        store.flush()
        return _count(store, least_df, most_words)


class _Store:
    """Captions as numbers, in blocks that end with a caption."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.lengths = file, list[int]()
        self.numbers: dict[str, int] = {}
        self.seen: dict[str, int] = {}  # words of `numbers`, how often: what lossy counting drops is the rarest
        self.next, self.captions, self.bucket = 0, 0, 0
        self.block = array("i")

    def add(self, stretches: list[list[str]]) -> None:
        for words in stretches:
            for word in words:
                number = self.numbers.get(word)
                if number is None:
                    number = self.numbers[word] = self.next
                    self.next += 1
                self.seen[word] = self.seen.get(word, 0) + 1
                self.block.append(number)
            self.block.append(BREAK)
        self.block.append(END)
        self.captions += 1
        if len(self.numbers) > WORDS:
            self._forget()
        if len(self.block) >= BLOCK:
            self.flush()

    def _forget(self) -> None:
        """Drop the rarest half of the words: one that comes again has a new number, as if it had not been before."""
        while len(self.seen) > WORDS // 2:
            self.bucket += 1
            self.seen = {word: times for word, times in self.seen.items() if times > self.bucket}
        self.numbers = {word: self.numbers[word] for word in self.seen}

    def flush(self) -> None:
        if self.block:
            self.block.tofile(self.file)
            self.lengths.append(len(self.block))
            self.block = array("i")

    def blocks(self) -> Iterator[Ints]:
        self.file.seek(0)
        for length in self.lengths:
            raw = self.file.read(4 * length)
            yield np.frombuffer(raw, np.int32).astype(np.int64)


def _count(store: _Store, least_df: int, most_words: int) -> tuple[list[str], int, list[Grams]]:
    texts = sorted(store.numbers)  # by text, so that nothing depends on the order of captions
    new_of = np.full(store.next + 1, -1, np.int64)  # the last is for the marks
    new_of[[store.numbers[text] for text in texts]] = np.arange(len(texts))
    words, df = _frequent((_heads(new_of, block) for block in store.blocks()), least_df)
    new_of[new_of >= 0] = _place(words, new_of[new_of >= 0])
    texts, size = [texts[number] for number in words], max(1, len(words))
    tables, dfs = [np.arange(len(words))], [df]  # of length n: codes, place of the run without its last word and that
    while tables[-1].size and len(tables) < most_words:
        runs = (_runs(new_of, block, tables, size, len(tables) + 1) for block in store.blocks())
        codes, df = _frequent(runs, least_df)
        tables.append(codes)
        dfs.append(df)
    grams = []
    for length, codes in enumerate(tables, 1):
        if not codes.size:
            break
        rows = _spelled(tables, size, length)
        cohesion = _cohesion(rows, dfs, tables, size, store.captions)
        freedom = _freedom(store, new_of, tables, size, length)
        grams.append(Grams(rows, dfs[length - 1], cohesion, freedom))
    return texts, store.captions, grams


def _heads(new_of: Ints, block: Ints) -> tuple[Ints, Ints]:
    """Numbers of words at each place, -1 at marks and where the word is forgotten; number of the caption."""
    return new_of[np.maximum(block, BREAK)], np.cumsum(block == END)


def _runs(new_of: Ints, block: Ints, tables: list[Ints], size: int, length: int) -> tuple[Ints, Ints]:
    """Code of the run of that length at each place, -1 where there is none whose parts are frequent."""
    words, captions = _heads(new_of, block)
    before = _places(words, tables, size, length - 1)
    codes = np.full(len(words), -1, np.int64)
    count = len(words) - length + 1
    if count > 0:
        head, tail, last = before[:count], before[1 : count + 1], words[length - 1 :]
        good = (head >= 0) & (tail >= 0) & (last >= 0)
        codes[:count][good] = head[good] * size + last[good]
    return codes, captions


def _places(words: Ints, tables: list[Ints], size: int, length: int) -> Ints:
    """Place in its table of the run of that length at each place, or -1."""
    found = words
    for longer in range(2, length + 1):
        codes = np.full(len(words), -1, np.int64)
        count = len(words) - longer + 1
        if count > 0:
            head, last = found[:count], words[longer - 1 :]
            good = (head >= 0) & (last >= 0)
            codes[:count][good] = head[good] * size + last[good]
        found = _place(tables[longer - 1], codes)
    return found


def _place(table: Ints, values: Ints) -> Ints:
    """Where each value stands in the sorted table, or -1."""
    if not table.size:
        return np.full(len(values), -1, np.int64)
    at = np.minimum(np.searchsorted(table, values), len(table) - 1)
    return np.where(table[at] == values, at, -1)


def _frequent(blocks: Iterable[tuple[Ints, Ints]], least: int) -> tuple[Ints, Ints]:
    """Codes that stand in at least so many captions, sorted, and in how many."""
    total = _Totals()
    for codes, captions in blocks:
        there = codes >= 0
        codes, captions = codes[there], captions[there]
        order = np.argsort(codes, kind="stable")
        codes, captions = codes[order], captions[order]
        once = np.ones(len(codes), bool)
        once[1:] = (codes[1:] != codes[:-1]) | (captions[1:] != captions[:-1])
        total.add(codes[once])
    kept = total.counts >= least
    return total.codes[kept], total.counts[kept]


class _Totals:
    """Sums of counts by code; never more than ENTRIES of them."""

    def __init__(self) -> None:
        self.codes, self.counts = np.empty(0, np.int64), np.empty(0, np.int64)

    def add(self, codes: Ints) -> None:
        codes, counts = np.unique(codes, return_counts=True)
        merged, where = np.unique(np.concatenate([self.codes, codes]), return_inverse=True)
        sums = np.zeros(len(merged), np.int64)
        np.add.at(sums, where, np.concatenate([self.counts, counts]))
        floor = 0
        while len(merged) > ENTRIES:
            floor += 1
            merged, sums = merged[sums > floor], sums[sums > floor]
        self.codes, self.counts = merged, sums


def _spelled(tables: list[Ints], size: int, length: int) -> Ints:
    """(N, length) words of the runs of that length."""
    rows = np.empty((len(tables[length - 1]), length), np.int64)
    head = np.arange(len(rows))
    for column in range(length, 1, -1):
        codes = tables[column - 1][head]
        head, rows[:, column - 1] = codes // size, codes % size
    rows[:, 0] = head
    return rows


def _cohesion(rows: Ints, dfs: list[Ints], tables: list[Ints], size: int, captions: int) -> Floats:
    """min over the splits of log(p(xy) / p(x) p(y)) / -log p(xy)."""
    length = rows.shape[1]
    least = np.ones(len(rows))
    whole = np.log(dfs[length - 1] / captions)
    for cut in range(1, length):
        left = np.log(_df(rows[:, :cut], dfs, tables, size) / captions)
        right = np.log(_df(rows[:, cut:], dfs, tables, size) / captions)
        # A run of every caption says nothing about itself: it counts as whole.
        ratio = np.divide(whole - left - right, -whole, out=np.ones(len(rows)), where=whole < 0)
        least = np.minimum(least, ratio)
    return least


def _df(rows: Ints, dfs: list[Ints], tables: list[Ints], size: int) -> Ints:
    place = rows[:, 0]
    for column in range(1, rows.shape[1]):
        place = _place(tables[column], place * size + rows[:, column])
    return dfs[rows.shape[1] - 1][place]


def _freedom(store: _Store, new_of: Ints, tables: list[Ints], size: int, length: int) -> Floats:
    """Entropy of the neighbours in bits, at most 1; the end of a stretch is a neighbour like no other."""
    number = len(tables[length - 1])
    least = np.ones(number)
    for side in ("left", "right"):
        total, times = _Totals(), np.zeros(number, np.int64)
        alone = np.zeros(number, np.int64)
        for block in store.blocks():
            places = _places(_heads(new_of, block)[0], tables, size, length)
            at = np.flatnonzero(places >= 0)
            beside = at - 1 if side == "left" else at + length
            near = np.where((beside >= 0) & (beside < len(block)), block[np.clip(beside, 0, len(block) - 1)], END)
            np.add.at(times, places[at], 1)
            np.add.at(alone, places[at[near < 0]], 1)
            total.add(places[at[near >= 0]] * (store.next + 1) + near[near >= 0])
        share = total.counts / times[total.codes // (store.next + 1)]
        entropy = np.zeros(number)
        np.add.at(entropy, total.codes // (store.next + 1), -share * np.log2(share))
        entropy += alone / times * np.log2(times)
        least = np.minimum(least, entropy)
    return least
