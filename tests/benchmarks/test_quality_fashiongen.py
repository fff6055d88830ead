"""Protocol 1 on small files in the form of Fashion-Gen's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import quality
from benchmarks.quality_fashiongen import TEMPLATES, fashiongen, is_fashiongen, item_of
from encoders.data import split_of
from kg.catalogue.fashiongen import read_fashiongen
from kg.errors import BadInput
from tests.fashiongen_files import some_views, write_fashiongen
from tests.tiny_encoder import TinyEncoder

TRAIN, TEST = "fashiongen_256_256_train.h5", "fashiongen_256_256_validation.h5"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 products to train on, 20 others to test with."""
    folder = tmp_path_factory.mktemp("fashiongen")
    write_fashiongen(folder / TRAIN, some_views(60))
    write_fashiongen(folder / TEST, some_views(20, first=60))
    return folder


class Knowing(TinyEncoder):
    """Sees the product's number in the colour of its picture, and reads it in its text."""

    def encode_images(self, images):  # type: ignore[no-untyped-def]
        colours = {tuple(np.random.default_rng(n).integers(60, 255, 3)): n for n in range(1000, 1080)}
        return np.eye(80, dtype=np.float32)[[colours[image.getpixel((0, 47))] - 1000 for image in images]]

    def encode_texts(self, texts, entities=None):  # type: ignore[no-untyped-def]
        return np.eye(80, dtype=np.float32)[[int(text.rpartition(" ")[2]) for text in texts]]


def test_who_knows_the_products_finds_all_of_them(files: Path) -> None:
    [found] = fashiongen(files, None, False).measure(Knowing(dim=80)).ways.values()
    names = [f"{name}{way}/R@{k}" for name in ("", "product/", "sample100/") for way in ("i2t", "t2i") for k in (1, 10)]
    assert {name: found.test[name] for name in names} == dict.fromkeys(names, 100.0)
    assert found.test["sample100/i2t/R@1/spread"] == 0


def test_who_gives_everything_one_vector_finds_nothing(files: Path) -> None:
    class Blind(Knowing):
        def encode_images(self, images):  # type: ignore[no-untyped-def]
            return np.ones((len(images), 80), np.float32) / np.sqrt(80)

    [found] = fashiongen(files, None, False).measure(Blind(dim=80)).ways.values()
    names = ("i2t/R@10", "t2i/R@1", "product/t2i/R@10", "sample100/i2t/R@1")
    assert {name: found.test[name] for name in names} == dict.fromkeys(names, 0.0)


def test_a_folder_is_split_as_the_set_has_it(files: Path) -> None:
    benchmark = fashiongen(files, None, False)
    views = list(read_fashiongen(files / TRAIN))
    val = {item.key for item in benchmark.training if item.part == "val"}
    assert val == {view.product for view in views if split_of(view.product) == "val"}
    train = [item for item in benchmark.training if item.part == "train"]
    assert len(train) == sum(view.product not in val for view in views)
    assert sum(item.part == "val" for item in benchmark.training) == len(val)  # one view each
    assert (benchmark.facts["test products"], benchmark.facts["test views"]) == (20, len(some_views(20, first=60)))
    assert benchmark.facts["test products whose text another has too"] == 0
    assert np.asarray(benchmark.training[3].open_picture()).shape == (48, 48, 3)


def test_one_file_is_split_by_hash_and_a_file_may_be_all_test(files: Path) -> None:
    benchmark = fashiongen(files / TRAIN, None, False)
    products = {view.product for view in read_fashiongen(files / TRAIN)}
    assert benchmark.facts["test products"] == sum(split_of(product) == "test" for product in products)
    assert "comparable with nothing published" in benchmark.facts["split"]
    assert {item.part for item in benchmark.training} == {"train", "val"}
    assert fashiongen(files / TRAIN, files / TEST, False).facts["test products"] == 20
    assert fashiongen(files, None, True).facts["test products"] < 20


def test_an_item_has_what_the_fields_state() -> None:
    [view] = some_views(1)
    item = item_of(Path("none.h5"), view)
    assert item.entities == (
        ("brand", "Maison 0"),
        ("category", "shoes"),
        ("category", "shoes > sneakers"),
        ("season", "SS2015"),
        ("composition", "100% cotton"),
        ("gender", "women"),
    )
    said = {name: template(view) for name, template in TEMPLATES.items()}
    assert said == {
        "name and description": "Café no 0. sneakers in colour 0, style 0",
        "description": "sneakers in colour 0, style 0",
        "fields and description": "100% cotton. sneakers. Maison 0. SS2015. sneakers in colour 0, style 0",
    }


def test_entities_are_given_to_the_encoders_that_take_them(files: Path) -> None:
    class Listening(Knowing):
        given = None

        def encode_texts(self, texts, entities=None):  # type: ignore[no-untyped-def]
            self.given = entities
            return super().encode_texts(texts)

    benchmark = fashiongen(files, None, False)
    listening, deaf = Listening(dim=80, entities=True), Listening(dim=80)
    benchmark.measure(listening)
    benchmark.measure(deaf)
    assert listening.given is not None
    assert len(listening.given) == 20
    assert listening.given[0][0] == ("brand", "Maison 0")
    assert deaf.given is None


def test_the_quality_benchmark_knows_its_files(files: Path) -> None:
    options = quality._parser().parse_args(["--data", str(files), "--protocol", "1", "--template", "description"])
    benchmark = quality._benchmark(options)
    assert benchmark.name == "fashiongen"
    assert benchmark.facts["text"] == "description"
    assert is_fashiongen(files / TEST)
    assert not is_fashiongen(files.parent / "nowhere")


def test_bad_input(files: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"one of name and description, description, fields"):
        fashiongen(files, None, False, "title")
    with pytest.raises(BadInput, match=r"ends in train\.h5 is due"):
        fashiongen(tmp_path, None, False)
    one = write_fashiongen(tmp_path / "one.h5", [view for view in some_views(9) if split_of(view.product) != "test"])
    with pytest.raises(BadInput, match=r"one\.h5 has no view to test with"):
        fashiongen(one, None, False)
