"""Neighbours and vectors of texts that are kept between computations, files that a kill has torn included."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

from kg.home import locked
from kg.similarity import nearest as exact
from workers import neighbours as module
from workers.neighbours import Kept, neighbours
from workers.text_vectors import TextVectors, digest


def world(names: list[int]) -> tuple[list[bytes], np.ndarray]:
    vectors = np.random.default_rng(1).standard_normal((200, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [digest(str(name)) for name in names], vectors[names]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_and_goes_they_are_those_from_scratch(tmp_path: Path, seed: int) -> None:
    draw, path = np.random.default_rng(seed), tmp_path / "near.npz"
    names = sorted(draw.choice(200, 60, replace=False).tolist())
    for _ in range(6):
        near = neighbours(path, *world(names), 5)
        anew = exact(world(names)[1], 5)
        np.testing.assert_array_equal(near[0], anew[0])
        np.testing.assert_array_equal(near[1], anew[1])
        gone = set(draw.choice(names, min(len(names), draw.integers(0, 4)), replace=False).tolist())
        names = sorted((set(names) - gone) | set(draw.choice(200, draw.integers(0, 4), replace=False).tolist()))


def test_only_what_changed_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, names = tmp_path / "near.npz", list(range(100))
    first = neighbours(path, *world(names), 5)
    monkeypatch.setattr(module, "nearest", lambda *_: pytest.fail("all were compared anew"))
    written = path.stat().st_mtime_ns
    again = neighbours(path, *world(names), 5)
    np.testing.assert_array_equal(first[0], again[0])
    assert path.stat().st_mtime_ns == written
    neighbours(path, *world([*names, 150]), 5)


def test_approximate_neighbours_are_computed_anew_once_many_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXACT", 50)
    path, calls = tmp_path / "near.npz", []
    real = module.nearest
    monkeypatch.setattr(module, "nearest", lambda *given: calls.append(1) or real(*given))
    for last in range(100, 140, 4):
        neighbours(path, *world(list(range(last))), 5)
    assert 1 < len(calls) < 10
    assert not Kept.read(path).exact
    neighbours(path, *world(list(range(40))), 5)
    assert Kept.read(path).exact


@pytest.mark.parametrize("content", [b"", b"torn", None])
def test_a_file_that_is_of_no_use_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    path, given = tmp_path / "near.npz", world(list(range(30)))
    near = neighbours(path, *given, 5)
    path.write_bytes(path.read_bytes()[:500] if content is None else content)
    np.testing.assert_array_equal(neighbours(path, *given, 5)[0], near[0])
    np.testing.assert_array_equal(neighbours(path, *given, 3)[0], near[0][:, :3])


def test_vectors_of_texts_are_kept(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    kept = TextVectors(tmp_path, 3)
    assert kept.missing(["a", "b", "a"]) == ["a", "b"]
    kept.add(["a", "b"], vectors[:2])
    kept.add(["c"], vectors[2:3])
    again = TextVectors(tmp_path, 3)
    assert again.missing(["c", "d", "é"]) == ["d", "é"]
    np.testing.assert_array_equal(again.matrix(["c", "a", "c"]), vectors[[2, 0, 2]])
    assert again.matrix([]).shape == (0, 3)
    with pytest.raises(KeyError):
        again.matrix(["d"])


@pytest.mark.parametrize(("name", "cut"), [("texts.f32", 5), ("texts.hashes", 7), ("texts.hashes", 16)])
def test_a_row_that_a_kill_has_cut_in_two_does_not_count(tmp_path: Path, name: str, cut: int) -> None:
    vectors = np.arange(9, dtype=np.float32).reshape(3, 3)
    kept = TextVectors(tmp_path, 3)
    kept.add(["a", "b"], vectors[:2])
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:-cut])
    assert kept.missing(["a", "b"]) == ["b"]
    kept.add(["c"], vectors[2:])
    np.testing.assert_array_equal(kept.matrix(["c", "a"]), vectors[[2, 0]])


def test_nobody_reads_while_another_process_trims(tmp_path: Path) -> None:
    kept = TextVectors(tmp_path, 2)
    kept.add(["a", "b"], np.eye(2, dtype=np.float32))
    with ThreadPoolExecutor() as pool:
        with locked(tmp_path / "lock"):  # as it stands between the two files that are replaced
            hashes = kept.hashes.read_bytes()
            kept.hashes.unlink()
            readers = [pool.submit(kept.matrix, ["b"]), pool.submit(kept.missing, ["a"])]
            wait(readers, timeout=0.3)
            kept.hashes.write_bytes(hashes)
        np.testing.assert_array_equal(readers[0].result(), [[0, 1]])
        assert readers[1].result() == []


def test_vectors_that_nobody_asks_for_are_dropped_once_they_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.text_vectors.SPARE", 2)
    kept = TextVectors(tmp_path, 2)
    kept.add([str(n) for n in range(9)], np.arange(18, dtype=np.float32).reshape(9, 2))
    kept.trim(["8", "1", "3", "5"])
    assert kept.missing(["0"]) == []
    kept.trim(["8", "1"])
    assert kept.missing(map(str, range(9))) == ["0", "2", "3", "4", "5", "6", "7"]
    np.testing.assert_array_equal(kept.matrix(["8", "1"]), [[16, 17], [2, 3]])
    kept.add(["x"], np.array([[7, 7]], np.float32))
    np.testing.assert_array_equal(kept.matrix(["x", "8"]), [[7, 7], [16, 17]])
