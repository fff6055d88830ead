from __future__ import annotations

import multiprocessing
import tracemalloc
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from kg.catalogue import fashiongen
from kg.catalogue.fashiongen import IMAGE, KEYS, find_files, open_view, read_fashiongen
from kg.errors import BadInput
from tests.fashiongen_files import some_views, write_fashiongen


def test_views_come_back_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = some_views(9)
    path = write_fashiongen(tmp_path / "train.h5", views)
    assert list(read_fashiongen(path)) == views
    assert views[0].name == "Café no 0"  # one byte in Latin-1, two in UTF-8
    monkeypatch.setattr(fashiongen, "ROWS", 4)  # a chunk ends within a product
    assert list(read_fashiongen(path)) == views


def test_texts_may_be_of_any_length_and_flat(tmp_path: Path) -> None:
    views = some_views(3)
    loose = np.array([[view.name.encode("latin-1")] for view in views], h5py.string_dtype("ascii"))
    assert list(read_fashiongen(write_fashiongen(tmp_path / "c.h5", views, instead={KEYS["name"]: loose}))) == views
    with pytest.raises(BadInput, match=r"\(6, 1\) is due"):
        list(read_fashiongen(write_fashiongen(tmp_path / "a.h5", views, instead={KEYS["name"]: np.zeros((6, 2))})))
    flat = np.array([view.brand.encode("latin-1") for view in views])
    assert list(read_fashiongen(write_fashiongen(tmp_path / "b.h5", views, instead={KEYS["brand"]: flat}))) == views


def test_a_column_that_says_it_is_utf8_is(tmp_path: Path) -> None:
    views = some_views(3)
    said = np.array([[view.name.encode()] for view in views], h5py.string_dtype("utf-8"))
    assert list(read_fashiongen(write_fashiongen(tmp_path / "a.h5", views, instead={KEYS["name"]: said}))) == views
    fixed = np.array([[view.name.encode()] for view in views], h5py.string_dtype("utf-8", 30))
    assert list(read_fashiongen(write_fashiongen(tmp_path / "b.h5", views, instead={KEYS["name"]: fixed}))) == views
    other = np.array([[view.name.encode("latin-1")] for view in views], h5py.string_dtype("utf-8", 30))
    with pytest.raises(BadInput, match="input_name is not the utf-8 that it says"):
        list(read_fashiongen(write_fashiongen(tmp_path / "c.h5", views, instead={KEYS["name"]: other})))


def test_texts_are_not_all_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = [replace(view, description=f"{view.row} {'x' * 20_000}") for view in some_views(100)]
    path = write_fashiongen(tmp_path / "train.h5", views, side=8)
    monkeypatch.setattr(fashiongen, "ROWS", 10)
    tracemalloc.start()
    assert sum(len(view.description) > 20_000 for view in read_fashiongen(path)) == len(views)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(views) * 20_000 / 2


def test_one_picture_is_read_at_a_time(tmp_path: Path) -> None:
    views = some_views(40)
    path = write_fashiongen(tmp_path / "train.h5", views, side=256)
    with h5py.File(path) as file:
        wanted = file[IMAGE][5]
    tracemalloc.start()
    opened = open_view(path, 5)
    list(read_fashiongen(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert opened.mode == "RGB"
    assert np.array_equal(np.asarray(opened), wanted)
    assert peak < len(views) * 256 * 256 * 3 / 4


def test_a_child_process_opens_the_file_for_itself(tmp_path: Path) -> None:
    path = write_fashiongen(tmp_path / "train.h5", some_views(4))
    here = np.asarray(open_view(path, 3))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        there = pool.starmap(open_view, [(path, 3)] * 4)
    assert all(np.array_equal(np.asarray(picture), here) for picture in there)


def test_entities_are_what_the_fields_state(tmp_path: Path) -> None:
    [view] = read_fashiongen(write_fashiongen(tmp_path / "train.h5", some_views(1)))
    assert {entity.key for entity in view.entities()} == {
        "brand:maison 0",
        "category:shoes > sneakers",
        "season:ss2015",
        "composition:100% cotton",
        "gender:women",
    }


def test_an_empty_field_and_a_long_composition_name_nothing(tmp_path: Path) -> None:
    instead = {KEYS["brand"]: np.array([[b" "]]), KEYS["composition"]: np.array([[b"wool " * 50]])}
    [view] = read_fashiongen(write_fashiongen(tmp_path / "train.h5", some_views(1), instead=instead))
    assert {entity.type for entity in view.entities()} == {"category", "season", "gender"}


@pytest.mark.parametrize("key", [IMAGE, KEYS["product"], KEYS["season"]])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    path = write_fashiongen(tmp_path / "train.h5", some_views(2), leave_out=key)
    with pytest.raises(BadInput, match=f"lacks {key}; it has input_brand"):
        list(read_fashiongen(path))


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        (IMAGE, np.zeros((3, 8, 8), np.uint8), r"\(3, 8, 8\) of uint8; \(N, height, width, 3\)"),
        (IMAGE, np.zeros((3, 8, 8, 3), np.float32), "float32"),
        (KEYS["name"], np.array([[b"a"], [b"b"]]), r"input_name is \(2, 1\); input_image has 3 rows"),
        (KEYS["name"], np.zeros((3, 1), np.float64), "input_name is of float64"),
        (KEYS["product"], np.array([[b"1"], [b""], [b"2"]]), "row 1: input_productID is empty"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(tmp_path: Path, key: str, values: np.ndarray, said: str) -> None:
    path = write_fashiongen(tmp_path / "train.h5", some_views(2), instead={key: values})
    with pytest.raises(BadInput, match=said):
        list(read_fashiongen(path))


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no file"):
        list(read_fashiongen(tmp_path / "none.h5"))
    (tmp_path / "text.h5").write_text("not this")
    with pytest.raises(BadInput, match="is not HDF5"):
        list(read_fashiongen(tmp_path / "text.h5"))
    path = write_fashiongen(tmp_path / "train.h5", some_views(2))
    with pytest.raises(BadInput, match="no row 3; it has 0 to 2"):
        open_view(path, 3)


def test_a_folder_has_one_file_of_each_part(tmp_path: Path) -> None:
    train = write_fashiongen(tmp_path / "fashiongen_256_256_train.h5", some_views(1))
    with pytest.raises(BadInput, match=r"ends in validation\.h5 is due, found none"):
        find_files(tmp_path)
    test = write_fashiongen(tmp_path / "fashiongen_256_256_validation.h5", some_views(1))
    assert find_files(tmp_path) == {"train": train, "val": test}
    write_fashiongen(tmp_path / "other_train.h5", some_views(1))
    with pytest.raises(BadInput, match=r"found fashiongen_256_256_train\.h5, other_train\.h5"):
        find_files(tmp_path)
    with pytest.raises(BadInput, match="no folder"):
        find_files(train)
