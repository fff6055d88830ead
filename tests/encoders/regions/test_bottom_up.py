"""Region features of other tools: both forms there and back, and what is refused."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path

import lmdb
import msgpack
import numpy as np
import pytest

from encoders.regions.bottom_up import PictureRegions, read_bottom_up, region_tokens_of, write_bottom_up
from kg.errors import BadInput, BadRecord


def picture(name: str, count: int = 36, title: str = "红石榴 面霜") -> PictureRegions:
    draw = np.random.default_rng(len(name) + count)
    corners = draw.uniform(0, 90, (count, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + draw.uniform(1, 10, (count, 2)).astype(np.float32)], axis=1)
    return PictureRegions(name, title, 120, 100, boxes, draw.standard_normal((count, 2048)).astype(np.float32))


PICTURES = [
    picture("1"),
    picture("2", 3, 'tab\tand "quote"'),
    picture("3", 1, 'two\nlines "of" it'),
    picture("4", 2, ""),
]


def same(found: PictureRegions, wanted: PictureRegions) -> bool:
    return (
        (found.id, found.title, found.width, found.height) == (wanted.id, wanted.title, wanted.width, wanted.height)
        and np.array_equal(found.boxes, wanted.boxes)
        and np.array_equal(found.features, wanted.features)
    )


@pytest.mark.parametrize("name", ["a.tsv", "a.lmdb"])
def test_written_and_read_back(tmp_path: Path, name: str) -> None:
    assert write_bottom_up(tmp_path / name, PICTURES) == 4
    found = [one for _, one in read_bottom_up(tmp_path / name)]
    assert [one.id for one in found] == ["1", "2", "3", "4"]
    assert all(same(one, wanted) for one, wanted in zip(found, PICTURES, strict=True))


def test_tokens_are_the_mean_and_the_regions() -> None:
    one = picture("1")
    tokens = region_tokens_of(one, unit=False)
    assert tokens.features.shape == (37, 2048)
    assert tokens.features.dtype == np.float16
    np.testing.assert_allclose(tokens.features[0], one.features.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(tokens.features[1:], one.features, atol=1e-2)
    assert tokens.boxes[0].tolist() == [0, 0, 1, 1, 1]
    x1, y1, x2, y2 = one.boxes[5]
    wanted = [x1 / 120, y1 / 100, x2 / 120, y2 / 100, (x2 - x1) * (y2 - y1) / 12_000]
    np.testing.assert_allclose(tokens.boxes[6], wanted, rtol=1e-5)
    few = region_tokens_of(one, limit=4)
    assert few.features.shape == (5, 2048)
    np.testing.assert_allclose(np.linalg.norm(few.features.astype(float), axis=1), 1, atol=1e-3)


def coded(values: object) -> str:
    return base64.b64encode(np.asarray(values, "<f4").tobytes()).decode()


def line(**changes: str) -> str:
    cells = {"id": "9", "w": "50", "h": "40", "n": "1", "boxes": coded([0, 0, 5, 5]), "features": coded(np.ones(2048))}
    return "\t".join([*(cells | changes).values(), "title"]) + "\n"


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"n": "2"}, "num_boxes"), ({"n": "x"}, "size"), ({"n": "0"}, "size"), ({"w": "0"}, "size"), ({"id": ""}, "size"),
     ({"boxes": "%%%"}, "boxes"), ({"boxes": "AAA="}, "boxes"), ({"boxes": coded([5, 0, 0, 5])}, "boxes"),
     ({"boxes": coded([0, 0, 60, 5])}, "boxes"), ({"features": coded([np.nan] * 2048)}, "features")],
)  # fmt: skip
def test_bad_lines(tmp_path: Path, changes: dict[str, str], field: str) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(line() + line(**changes) + line())
    bad: list[tuple[int, str]] = []
    assert len(list(read_bottom_up(path, lambda number, error: bad.append((number, error.field))))) == 2
    assert bad == [(2, field)]
    with pytest.raises(BadRecord, match=r"entry 2\)"):
        list(read_bottom_up(path))


def test_lines_that_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"\xe9\t1\t1\t1\tx\tx\tx\none cell\n")
    bad: list[int] = []
    assert list(read_bottom_up(tmp_path / "a.tsv", lambda number, error: bad.append(number))) == []
    assert bad == [1, 2]


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("the pickle was opened",))


def test_entries_that_are_refused(tmp_path: Path) -> None:
    with_objects = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": (1,), b"data": pickle.dumps([Trap()])}
    entries = [
        pickle.dumps([Trap()]),
        msgpack.packb([with_objects, with_objects, 1, 1, 1, "a", ""]),
        msgpack.packb(["too", "short"]),
        msgpack.packb([[1.0], [1.0], 1, 1, 1, "a", ""]),
        b"\xc1",
    ]
    with lmdb.open(str(tmp_path / "a.lmdb"), subdir=False) as env, env.begin(write=True) as tx:
        for number, entry in enumerate(entries):
            tx.put(f"{number:08d}".encode(), entry)
    bad: list[str] = []
    assert list(read_bottom_up(tmp_path / "a.lmdb", lambda number, error: bad.append(error.rule))) == []
    assert len(bad) == len(entries)
    assert "is pickled" in bad[0]
    assert "an array of object" in bad[1]


def test_numbers_of_numpy_and_keys_as_text_are_read(tmp_path: Path) -> None:
    def packed(values: np.ndarray) -> dict[str, object]:  # as msgpack-numpy of old packers has it
        return {"nd": True, "type": values.dtype.str, "shape": list(values.shape), "data": values.tobytes()}

    one = PICTURES[1]
    width = {b"nd": False, b"type": "<i8", b"data": np.int64(120).tobytes()}
    entry = [packed(one.features), packed(one.boxes.astype("<f8")), 3, 100, width, one.id, one.title]
    with lmdb.open(str(tmp_path / "folder")) as env, env.begin(write=True) as tx:
        tx.put(b"00000000", msgpack.packb(entry))
        tx.put(b"__keys__", msgpack.packb([b"00000000"]))
    assert [same(found, one) for _, found in read_bottom_up(tmp_path / "folder")] == [True]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no region features at"):
        list(read_bottom_up(tmp_path / "none.tsv"))
    (tmp_path / "a.lmdb").write_bytes(b"no database")
    with pytest.raises(BadInput, match="is not LMDB"):
        list(read_bottom_up(tmp_path / "a.lmdb"))


ARRAY = {"nd": True, "type": "<f4", "shape": [1, 2048], "data": bytes(8192)}
BOXES = {"nd": True, "type": "<f4", "shape": [1, 4], "data": np.array([0, 0, 5, 5], "<f4").tobytes()}


@pytest.mark.parametrize(
    "entry",
    [
        [{"nd": True}, BOXES, 1, 10, 10, "1", "t"],
        [{"nd": True, "type": "<f4", "shape": [1]}, BOXES, 1, 10, 10, "1", "t"],
        [{"nd": False, "type": "<f4", "data": b""}, BOXES, 1, 10, 10, "1", "t"],
        [ARRAY | {"type": 1 << 45}, BOXES, 1, 10, 10, "1", "t"],
        [ARRAY, BOXES, 1, 10, float("inf"), "1", "t"],
        [ARRAY, BOXES, 1, 10, 10, b"\xff", "t"],
    ],
)
def test_entries_that_lack_or_overstate_something(tmp_path: Path, entry: list[object]) -> None:
    with lmdb.open(str(tmp_path / "a"), subdir=False, map_size=1 << 22) as env, env.begin(write=True) as tx:
        tx.put(b"00000000", msgpack.packb(entry))
        tx.put(b"00000001", msgpack.packb([ARRAY, BOXES, 1, 10, 10, b"7", "面霜".encode()]))
    bad: list[int] = []
    found = [one for _, one in read_bottom_up(tmp_path / "a", lambda number, error: bad.append(number))]
    assert bad == [1]
    assert [(one.id, one.title) for one in found] == [("7", "面霜")]


def test_a_byte_order_mark_is_no_part_of_an_id(tmp_path: Path) -> None:
    write_bottom_up(tmp_path / "a.tsv", PICTURES[:1])
    (tmp_path / "a.tsv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.tsv").read_bytes())
    assert [one.id for _, one in read_bottom_up(tmp_path / "a.tsv")] == ["1"]


def test_a_quote_that_does_not_end_is_no_title(tmp_path: Path) -> None:
    write_bottom_up(tmp_path / "a.tsv", [picture("1", 1), picture("2", 1, "lost"), picture("3", 1, "lost")])
    first, *rest = (tmp_path / "a.tsv").read_text().splitlines()
    cells = first.split("\t")
    (tmp_path / "a.tsv").write_text("\n".join(["\t".join([*cells[:6], '"odd']), *rest, ""]))
    with pytest.raises(BadRecord, match=r"quote does not end.*entry 1"):
        list(read_bottom_up(tmp_path / "a.tsv"))
