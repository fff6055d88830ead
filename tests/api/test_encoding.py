"""Vectors of questions: made once, kept by content, in bounded room."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from api import encoding
from api.encoding import OVERHEAD, Encodings, Wish
from encoders.protocol import Entities
from kg.errors import BadInput, BadPicture
from tests.tiny_encoder import TinyEncoder

ENTRY = 64 * 4 + OVERHEAD


class Counting(TinyEncoder):
    """Notes how many texts and pictures each forward pass had; `gate` lets a test hold one up."""

    def __init__(self, *, entities: bool = False) -> None:
        super().__init__(entities=entities)
        self.passes: list[tuple[str, int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def encode_texts(self, texts: Sequence[str], entities: Sequence[Entities] | None = None) -> NDArray[np.float32]:
        self.passes.append(("text" if entities is None else "text+", len(texts)))
        assert self.gate.wait(20)
        return super().encode_texts(texts, entities)

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        self.passes.append(("picture", len(images)))
        return super().encode_images(images)


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    image = Image.new("RGB", (40, 30), (shade, 90, 255 - shade))
    image.paste((255, shade, 0), (20, 0, 40, 30))
    image.save(file, "PNG")
    return file.getvalue()


def test_each_thing_is_encoded_once_and_all_of_a_kind_together() -> None:
    encoder, encodings = Counting(), Encodings(max_bytes=10**6)
    wishes = [
        Wish("text", "amber jar"),
        Wish("picture", image=jpeg(9)),
        Wish("text", "blue jar"),
        Wish("text", "amber jar"),
        Wish("picture", image=jpeg(9), name="http://other/name.png"),
        Wish("picture", image=jpeg(9), box=(0, 0, 9, 9)),
    ]
    first = encodings.get(encoder, wishes)
    assert sorted(encoder.passes) == [("picture", 2), ("text", 2)]
    np.testing.assert_allclose(first[0], TinyEncoder().encode_texts(["amber jar"]), atol=1e-6)  # type: ignore[arg-type]
    assert first[0] is first[3]
    assert first[1] is first[4]
    assert not np.array_equal(first[1], first[5])  # type: ignore[arg-type]
    again = encodings.get(encoder, wishes[::-1])
    assert sorted(encoder.passes) == [("picture", 2), ("text", 2)]
    assert all(one is other for one, other in zip(again, first[::-1], strict=True))
    encodings.get(TinyEncoder(seed=8), wishes[:1])
    assert encodings.size == 5 * ENTRY  # of another encoder it is another vector


def test_entities_are_part_of_what_is_asked() -> None:
    encoder, encodings = Counting(entities=True), Encodings(max_bytes=10**6)
    given = (("brand", "Aurora"),)
    plain, named = encodings.get(encoder, [Wish("text", "jar"), Wish("text", "jar", given)])
    assert encoder.passes == [("text", 1), ("text+", 1)]
    assert not np.array_equal(plain, named)  # type: ignore[arg-type]
    refused, fine = Encodings(max_bytes=0).get(TinyEncoder(), [Wish("text", "jar", given), Wish("text", "jar")])
    assert isinstance(refused, BadInput)
    np.testing.assert_array_equal(fine, plain)  # type: ignore[arg-type]


def test_a_picture_that_cannot_be_read_spoils_no_other() -> None:
    encodings = Encodings(max_bytes=10**6)
    bad = Wish("picture", image=b"no picture", name="of the request")
    fine, wrong = encodings.get(TinyEncoder(), [Wish("picture", image=jpeg(3)), bad])
    assert isinstance(wrong, BadPicture)
    assert "of the request" in str(wrong)
    assert isinstance(fine, np.ndarray)
    assert encodings.size == ENTRY  # errors are not kept


def test_the_longest_unused_is_forgotten_and_the_room_is_kept() -> None:
    encoder, encodings = Counting(), Encodings(max_bytes=2 * ENTRY)
    for text in ("a", "b", "a", "c", "a", "b"):
        encodings.get(encoder, [Wish("text", text)])
        assert encodings.size <= 2 * ENTRY
    assert encoder.passes == [("text", 1)] * 4  # a, b, c, and b again
    without = Encodings(max_bytes=0)
    without.get(encoder, [Wish("text", "a")])
    without.get(encoder, [Wish("text", "a")])
    assert (len(encoder.passes), without.size) == (6, 0)


def test_who_asks_for_the_same_at_once_waits_for_one() -> None:
    encoder, encodings = Counting(), Encodings(max_bytes=0)
    encoder.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(encodings.get, encoder, [Wish("text", "same")]) for _ in range(8)]
        while not encoder.passes:
            pass
        while sum(one.running() for one in asked) < 8:
            pass
        threading.Event().wait(0.2)
        encoder.gate.set()
        vectors = [one.result(20)[0] for one in asked]
    assert encoder.passes == [("text", 1)]
    assert all(one is vectors[0] for one in vectors)


def test_texts_that_come_during_a_pass_share_the_next_one() -> None:
    encoder, encodings = Counting(), Encodings(max_bytes=10**6)
    encoder.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(encodings.get, encoder, [Wish("text", "first")])
        while not encoder.passes:
            pass
        others = [pool.submit(encodings.get, encoder, [Wish("text", f"text {n % 5}")]) for n in range(7)]
        while len(encodings._queued.get(encoder.fingerprint, ())) < 5:
            pass
        encoder.gate.set()
        assert isinstance(first.result(20)[0], np.ndarray)
        vectors = [one.result(20)[0] for one in others]
    assert encoder.passes == [("text", 1), ("text", 5)]
    for n, vector in enumerate(vectors):
        np.testing.assert_allclose(vector, TinyEncoder().encode_texts([f"text {n % 5}"]), atol=1e-6)  # type: ignore[arg-type]


def test_two_calls_that_want_each_others_things_both_end() -> None:
    encoder, encodings = Counting(), Encodings(max_bytes=0)
    wishes = [Wish("text", str(n)) for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(encodings.get, encoder, wishes[:: 1 if n % 2 else -1]) for n in range(16)]
        answers = [one.result(20) for one in asked]
    for n, vectors in enumerate(answers):
        np.testing.assert_array_equal(vectors[0 if n % 2 else -1], encoder.encode_texts(["0"]))  # type: ignore[arg-type]


def test_what_breaks_the_encoder_breaks_who_waits_for_it_and_nothing_after() -> None:
    class Broken(Counting):
        def encode_texts(self, texts: Sequence[str], entities: Sequence[Entities] | None = None) -> NDArray[np.float32]:
            super().encode_texts(texts, entities)
            raise RuntimeError("no memory")

    broken, encodings = Broken(), Encodings(max_bytes=10**6)
    with pytest.raises(RuntimeError, match="no memory"):
        encodings.get(broken, [Wish("text", "jar")])
    assert isinstance(encodings.get(TinyEncoder(), [Wish("text", "jar")])[0], np.ndarray)


def test_only_so_many_pixels_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MAX_PIXELS", 3 * 40 * 30)
    encoder, encodings = Counting(), Encodings(max_bytes=10**6)
    vectors = encodings.get(encoder, [Wish("picture", image=jpeg(n)) for n in range(8)])
    assert [count for _, count in encoder.passes] == [3, 3, 2]
    alone = [TinyEncoder().encode_images([Image.open(io.BytesIO(jpeg(n))).convert("RGB")]) for n in range(8)]
    np.testing.assert_allclose(np.concatenate(vectors), np.concatenate(alone), atol=1e-6)  # type: ignore[arg-type]


def test_a_pass_that_breaks_leaves_nobody_waiting() -> None:
    class Broken(Counting):
        def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
            raise MemoryError("no room")

    broken, encodings = Broken(), Encodings(max_bytes=10**6)
    with pytest.raises(MemoryError):
        encodings.get(broken, [Wish("picture", image=jpeg(9)), Wish("text", "soap")])
    with ThreadPoolExecutor(1) as pool:
        [vector] = pool.submit(encodings.get, broken, [Wish("text", "soap")]).result(20)
    assert isinstance(vector, np.ndarray)
