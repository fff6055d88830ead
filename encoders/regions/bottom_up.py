"""Region features that a bottom-up-attention detector has computed elsewhere (Anderson et al., CVPR 2018), as region
tokens. CAPTURE was trained on such files: 36 boxes of 2,048 features and a caption for each picture.

Two forms are read, one picture at a time:

- TSV without a header: image_id, image_w, image_h, num_boxes, boxes, features, title; boxes (float32, x1 y1 x2 y2 in
  pixels) and features (float32) in base64; a title with a tab or a quote is quoted as CSV does.
- LMDB as tensorpack writes it: lists `[features, boxes, num_boxes, image_h, image_w, image_id, caption]`, in msgpack
  with arrays as msgpack-numpy has them. Entries in pickle are refused: to unpickle a file is to run it. tensorpack
  writes msgpack where TENSORPACK_SERIALIZE=msgpack is set.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
from numpy.typing import NDArray

from encoders.regions import boxes as geometry
from encoders.regions.features import RegionTokens
from kg.errors import BadInput, BadRecord

__all__ = ["PictureRegions", "read_bottom_up", "region_tokens_of", "write_bottom_up"]

OnBad = Callable[[int, BadRecord], None]
WIDTH = 2048
KEYS = b"__keys__"  # tensorpack's entry with the list of all keys
PICKLE = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))


@dataclass(frozen=True)
class PictureRegions:
    """One picture of a file.

    Attributes:
        boxes: (N, 4) float32, x1, y1, x2, y2 in pixels.
        features: (N, 2048) float32, not normalised.
    """

    id: str
    title: str
    width: int
    height: int
    boxes: NDArray[np.float32]
    features: NDArray[np.float32]


def read_bottom_up(path: Path, on_bad: OnBad | None = None) -> Iterator[tuple[int, PictureRegions]]:
    """(line of the TSV or number of the LMDB entry, from 1; picture), in the order of the file.

    Args:
        path: `.tsv` file, or an LMDB file or folder.
        on_bad: takes what breaks the format; reading goes on.

    Raises:
        BadInput: there is nothing at `path`, or it is not LMDB.
        BadRecord: an entry that breaks the format, where `on_bad` is not given: sizes that do not agree, numbers that
            are not finite, no box, boxes out of order, an entry in pickle.
    """
    if not path.exists():
        raise BadInput(f"no region features at {path}")
    entries = _tsv(path) if path.suffix.lower() == ".tsv" else _lmdb(path)
    for number, parse in entries:
        try:
            yield number, parse()
        except BadRecord as error:
            if on_bad is None:
                raise BadRecord(error.field, error.value, f"{error.rule} ({path}, entry {number})") from error
            on_bad(number, error)


def write_bottom_up(path: Path, pictures: Iterable[PictureRegions]) -> int:
    """Writes the TSV, or the LMDB file where `path` does not end in .tsv; gives the number of pictures."""
    if path.suffix.lower() == ".tsv":
        count = 0
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            for count, one in enumerate(pictures, start=1):  # noqa: B007
                arrays = (base64.b64encode(np.asarray(a, "<f4").tobytes()).decode() for a in (one.boxes, one.features))
                writer.writerow([one.id, one.width, one.height, len(one.boxes), *arrays, one.title])
        return count
    keys: list[bytes] = []
    with lmdb.open(str(path), subdir=False, map_size=1 << 40, metasync=False) as env:
        for one in pictures:
            keys.append(f"{len(keys):08d}".encode())
            entry = [one.features, one.boxes, str(len(one.boxes)), one.height, one.width, one.id, one.title]
            with env.begin(write=True) as tx:
                tx.put(keys[-1], msgpack.packb(entry, default=_pack))
        with env.begin(write=True) as tx:
            tx.put(KEYS, msgpack.packb(keys))
    return len(keys)


def region_tokens_of(picture: PictureRegions, *, limit: int = 36, unit: bool = True) -> RegionTokens:
    """Token 0 is the mean of the regions (CAPTURE's global token) with the box of the whole picture; then the first
    `limit` regions with their boxes as fractions of the picture and of its area.

    Args:
        picture: of a file.
        limit: most regions.
        unit: tokens of unit length, as `RegionTokens` are elsewhere; else as the detector gave them, as in the paper.
    """
    features, boxes = picture.features[:limit], picture.boxes[:limit]
    tokens = np.concatenate([features.mean(axis=0, keepdims=True), features])
    if unit:
        tokens /= np.maximum(np.linalg.norm(tokens, axis=1, keepdims=True), 1e-12)
    places = geometry.encode(boxes, picture.width, picture.height)
    return RegionTokens(tokens.astype(np.float16), np.concatenate([np.array([geometry.WHOLE], np.float32), places]))


Entry = tuple[int, Callable[[], PictureRegions]]


def _tsv(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        lines = enumerate(file, start=1)
        for number, raw in lines:
            if not raw.strip():
                continue
            cells = (raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw).rstrip(b"\r\n").split(b"\t", 6)
            # A quoted title may hold line breaks: it ends with the quote that has no pair.
            while len(cells) == 7 and cells[6].startswith(b'"') and cells[6].count(b'"') % 2:
                following = next(lines, None)
                if following is None:
                    break
                cells[6] += b"\n" + following[1].rstrip(b"\r\n")
            yield number, lambda cells=cells: _of_cells(cells)  # type: ignore[misc]


def _of_cells(cells: Sequence[bytes]) -> PictureRegions:
    if len(cells) != 7:
        raise BadRecord("row", repr(b" ".join(cells)[:80])[2:-1], f"{len(cells)} cells between tabs, 7 are due")
    if cells[6].startswith(b'"') and cells[6].count(b'"') % 2:
        raise BadRecord("title", repr(cells[6][:40])[2:-1], "its quote does not end: all that follows belongs to it")
    try:
        words = [cell.decode() for cell in cells]
    except UnicodeDecodeError as error:
        raise BadRecord("row", repr(cells[0][:80])[2:-1], f"not valid UTF-8: {error.reason}") from error
    plain = [word[1:-1].replace('""', '"') if len(word) > 1 and word[0] == word[-1] == '"' else word for word in words]
    arrays = []
    for name, word in (("boxes", plain[4]), ("features", plain[5])):
        try:
            arrays.append(np.frombuffer(base64.b64decode(word, validate=True), "<f4"))
        except (binascii.Error, ValueError) as error:
            raise BadRecord(name, word[:40], f"not float32 in base64: {error}") from error
    return _checked(plain[0], plain[6], plain[1], plain[2], plain[3], arrays[0], arrays[1])


def _lmdb(path: Path) -> Iterator[Entry]:
    try:
        env = lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise BadInput(f"{path} is not LMDB: {error}", hint="region features are a .tsv file or LMDB") from error
    with env, env.begin(buffers=False) as tx:
        number = 0
        for key, value in tx.cursor():  # keys are numbers of eight digits: their order is the file's
            if key != KEYS:
                number += 1
                yield number, lambda value=value: _of_entry(value)  # type: ignore[misc]


def _of_entry(value: bytes) -> PictureRegions:
    if value.startswith(PICKLE):
        rule = "is pickled, and opening a pickle runs what it says: write it again with TENSORPACK_SERIALIZE=msgpack"
        raise BadRecord("entry", repr(value[:8]), rule)
    try:
        entry = msgpack.unpackb(value, object_hook=_unpack, strict_map_key=False)
    except (ValueError, msgpack.UnpackException, TypeError, LookupError) as error:
        raise BadRecord("entry", repr(value[:16]), f"not msgpack with plain arrays: {error}") from error
    if not isinstance(entry, list) or len(entry) != 7:
        raise BadRecord(
            "entry", repr(entry)[:80], "not [features, boxes, num_boxes, image_h, image_w, image_id, caption]"
        )
    features, boxes, count, height, width, name, title = entry
    if not (isinstance(features, np.ndarray) and isinstance(boxes, np.ndarray)):
        raise BadRecord("entry", name, "features and boxes are not arrays")
    try:  # older msgpack writes texts as bytes
        name, title = (word.decode() if isinstance(word, bytes) else str(word) for word in (name, title))
    except UnicodeDecodeError as error:
        raise BadRecord("entry", repr(entry[5:])[:80], f"not valid UTF-8: {error.reason}") from error
    return _checked(name, title, width, height, count, boxes.ravel(), features.ravel())


def _checked(
    name: str, title: str, width: Any, height: Any, count: Any, boxes: NDArray[Any], features: NDArray[Any]
) -> PictureRegions:
    try:
        width, height, count = int(width), int(height), int(count)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRecord("size", [width, height, count], "image_w, image_h and num_boxes are whole numbers") from error
    if not name or min(width, height, count) < 1:
        raise BadRecord("size", [name, width, height, count], "an image_id, a picture and a box are needed")
    if boxes.size != 4 * count or features.size != WIDTH * count:
        rule = f"num_boxes {count} asks for {4 * count} numbers in boxes and {WIDTH * count} in features"
        raise BadRecord("num_boxes", [boxes.size, features.size], rule)
    corners, values = boxes.reshape(count, 4).astype(np.float32), features.reshape(count, WIDTH).astype(np.float32)
    if not (np.isfinite(corners).all() and np.isfinite(values).all()):
        raise BadRecord("features", name, "holds numbers that are not finite")
    if (
        (corners[:, 2:] <= corners[:, :2]).any()
        or (corners < -1).any()
        or (corners > [width + 1, height + 1] * 2).any()
    ):
        raise BadRecord("boxes", corners.tolist(), f"not x1 < x2, y1 < y2 inside {width} x {height} pixels")
    return PictureRegions(name, title, width, height, corners.clip(0, [width, height] * 2), values)


def _pack(value: Any) -> dict[bytes, Any]:
    return {b"nd": True, b"type": value.dtype.str, b"kind": b"", b"shape": value.shape, b"data": value.tobytes()}


def _unpack(value: dict[Any, Any]) -> Any:
    """Arrays and numbers of numpy as msgpack-numpy writes them; arrays of objects, which it pickles, are refused."""
    found = {key.decode() if isinstance(key, bytes) else key: inner for key, inner in value.items()}
    if "nd" not in found:
        return found
    name = found["type"]
    if not isinstance(name, str | bytes):  # bytes(a number) would ask for that much memory
        raise ValueError(f"an array of {name!r:.40}")
    kind = np.dtype(name if isinstance(name, str) else name.decode())
    if kind.kind not in "fiu":
        raise ValueError(f"an array of {kind}")
    values = np.frombuffer(found["data"], kind)
    return values.reshape(found["shape"]) if found["nd"] else values[0]
