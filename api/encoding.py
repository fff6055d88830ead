"""What is asked with into vectors, each thing once: a cache by content, and one answer for all who ask at once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from api.metrics import ENCODE_CACHE_BYTES, ENCODE_WISHES
from encoders.protocol import Encoder, entity_encoder
from kg.catalogue.pictures import decode
from kg.errors import SkugraphError
from kg.records import Box
from kg.vectors.generations import Part

__all__ = ["Encodings", "Outcome", "Wish"]

MAX_PIXELS = 64_000_000  # of pictures that are held decoded at once, but always one
OVERHEAD = 300  # bytes that an entry of the cache takes beside its vector

Vector = NDArray[np.float32]  # (1, D)
Outcome = Vector | SkugraphError
Given = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Wish:
    """One thing to embed.

    Attributes:
        part: `picture`, `text`, or `pair` of both.
        text: as it was asked.
        entities: (type, value) known of the text, for an encoder that takes them; None where nothing is given.
        image: bytes of a picture file.
        box: region of the picture.
        name: of the picture, for errors.
    """

    part: Part
    text: str = ""
    entities: Given | None = None
    image: bytes = b""
    box: Box | None = None
    name: str = "of the request"

    @property
    def digest(self) -> str:
        """Equal for wishes of equal content: what they are called does not count."""
        told = repr((self.part, self.text, self.entities, self.box)).encode("utf-8", "surrogatepass")
        return hashlib.sha256(hashlib.sha256(self.image).digest() + told).hexdigest()


class Encodings:
    """Vectors of what was asked before, the longest unused forgotten first; threads share it.

    Who asks for what another thread is encoding waits for that; what a call asks for beside it is encoded together, one
    forward pass for each kind. Texts of several calls, too: those that come while a pass is running wait for its end
    and share the next one, so that nobody waits where nobody else asks.

    Args:
        max_bytes: room for the vectors; 0 keeps none.
        max_pixels: of one picture, known before it is decoded.
    """

    def __init__(self, *, max_bytes: int, max_pixels: int = 50_000_000) -> None:
        self.max_bytes, self.max_pixels = max_bytes, max_pixels
        self.size = 0  # bytes in use
        self._kept: OrderedDict[str, Vector] = OrderedDict()
        self._flying: dict[str, Future[Outcome]] = {}
        self._queued: dict[str, dict[str, Wish]] = {}  # fingerprint → texts for the next pass
        self._turn = threading.Lock()
        self._lock = threading.Lock()

    def get(self, encoder: Encoder, wishes: Sequence[Wish]) -> list[Outcome]:
        """For each wish its vector (1, D), not to be written to, or what is wrong with it (BadPicture, TooLarge, or
        BadInput: entities for an encoder that takes none)."""
        keys = [f"{encoder.fingerprint} {wish.digest}" for wish in wishes]
        found: dict[str, Outcome] = {}
        waiting: dict[str, Future[Outcome]] = {}
        mine: dict[str, Wish] = {}
        with self._lock:
            for key, wish in zip(keys, wishes, strict=True):
                if (kept := self._kept.get(key)) is not None:
                    self._kept.move_to_end(key)
                    found[key], how = kept, "cached"
                elif key in waiting or key in self._flying:
                    waiting[key], how = self._flying[key], "joined"
                else:
                    self._flying[key] = waiting[key] = Future()
                    mine[key], how = wish, "encoded"
                ENCODE_WISHES.labels(wish.part, how).inc()
        texts = {key: wish for key, wish in mine.items() if wish.part == "text"}
        if len(texts) < len(mine):  # before anything is waited for: two calls never wait for each other
            try:
                self._make(encoder, {key: wish for key, wish in mine.items() if key not in texts})
            except BaseException as error:  # nobody else makes the texts, and others may wait for them
                self._failed(texts, error)
                raise
        if texts:
            self._make_in_turn(encoder, texts)
        found |= {key: future.result() for key, future in waiting.items()}
        return [found[key] for key in keys]

    def _make_in_turn(self, encoder: Encoder, wishes: Mapping[str, Wish]) -> None:
        """One pass after the other, each with all that has come by then; another call may take these along."""
        with self._lock:
            self._queued.setdefault(encoder.fingerprint, {}).update(wishes)
        with self._turn:
            with self._lock:
                waiting = self._queued.pop(encoder.fingerprint, {})
            if waiting:
                self._make(encoder, waiting)

    def _make(self, encoder: Encoder, wishes: Mapping[str, Wish]) -> None:
        try:
            made = dict(zip(wishes, self._encoded(encoder, list(wishes.values())), strict=True))
        except BaseException as error:
            self._failed(wishes, error)
            raise
        with self._lock:
            for key, outcome in made.items():
                if not isinstance(outcome, SkugraphError):
                    self._keep(key, outcome)
                self._flying.pop(key).set_result(outcome)
            ENCODE_CACHE_BYTES.set(self.size)

    def _failed(self, wishes: Iterable[str], error: BaseException) -> None:
        with self._lock:
            for key in wishes:
                self._flying.pop(key).set_exception(error)

    def _keep(self, key: str, vector: Vector) -> None:
        self._kept[key] = vector
        self.size += vector.nbytes + OVERHEAD
        while self.size > self.max_bytes:
            _, gone = self._kept.popitem(last=False)
            self.size -= gone.nbytes + OVERHEAD

    def _encoded(self, encoder: Encoder, wishes: Sequence[Wish]) -> list[Outcome]:
        """In the order of the wishes; as many pictures at once as may be held decoded."""
        outcomes: dict[int, Outcome] = {}
        for load, pictures in self._loads(wishes, outcomes):
            kinds: dict[tuple[Part, bool], list[int]] = {}
            for at in load:
                kinds.setdefault((wishes[at].part, wishes[at].entities is not None), []).append(at)
            for places in kinds.values():
                try:
                    vectors = _forward(encoder, [wishes[at] for at in places], [pictures.get(at) for at in places])
                except SkugraphError as error:
                    outcomes |= dict.fromkeys(places, error)
                    continue
                for row, at in enumerate(places):
                    vector = np.array(vectors[row : row + 1], np.float32)
                    vector.flags.writeable = False
                    outcomes[at] = vector
        return [outcomes[at] for at in range(len(wishes))]

    def _loads(
        self, wishes: Sequence[Wish], refused: dict[int, Outcome]
    ) -> Iterator[tuple[list[int], dict[int, Image]]]:
        """Places of wishes to encode together, with their pictures; a picture that cannot be read goes to `refused`."""
        load: list[int] = []
        pictures: dict[int, Image] = {}
        known: dict[tuple[bytes, Box | None], Image] = {}
        pixels = 0
        for at, wish in enumerate(wishes):
            if wish.part != "text":
                source = (wish.image, wish.box)
                if source not in known:
                    try:
                        image = decode(wish.image, name=wish.name, max_pixels=self.max_pixels, box=wish.box)
                    except SkugraphError as error:
                        refused[at] = error
                        continue
                    pixels += image.width * image.height
                    if known and pixels > MAX_PIXELS:
                        yield load, pictures
                        load, pictures, known, pixels = [], {}, {}, image.width * image.height
                    known[source] = image
                pictures[at] = known[source]
            load.append(at)
        if load:
            yield load, pictures


def _forward(encoder: Encoder, wishes: Sequence[Wish], images: Sequence[Image | None]) -> NDArray[np.float32]:
    """One forward pass: all of one part, and with entities all or none."""
    part, texts = wishes[0].part, [wish.text for wish in wishes]
    shown = [image for image in images if image is not None]
    if part == "picture":
        return encoder.encode_images(shown)
    if wishes[0].entities is None:
        return encoder.encode_texts(texts) if part == "text" else encoder.encode_items(shown, texts)
    reader, given = entity_encoder(encoder), [wish.entities or () for wish in wishes]
    return reader.encode_texts(texts, given) if part == "text" else reader.encode_items(shown, texts, given)
