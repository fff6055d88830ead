from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import encoders
from encoders.config import load_config
from encoders.data import TrainItem
from encoders.tables import TokenTable
from encoders.training import TrainReport, train
from kg.errors import BadInput, BadPicture, NotFound


def run(items: list[TrainItem], out: Path, cache: Path, **options: object) -> TrainReport:
    options = {"config": "clip_style_tiny", "epochs": 4, "device": "cpu", **options}
    return train("clip_style", items, out, cache=cache, **options)  # type: ignore[arg-type]


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "training.jsonl").read_text().splitlines()]


def test_learns(trained: Path, items: list[TrainItem]) -> None:
    found = losses(trained)
    assert found[-1] < found[0] - 0.5
    tested = [item for item in items if item.part == "test"]
    encoder = encoders.load(trained, device="cpu")
    pictures, texts = encoder.encode_images([i.open_picture() for i in tested]), sorted({i.text for i in items})
    nearest = (pictures @ encoder.encode_texts(texts).T).argmax(axis=1)
    right = np.mean([texts[column] == item.text for column, item in zip(nearest, tested, strict=True)])
    assert right > 0.5  # of 18 captions; by chance 0.06


def test_stopped_and_continued_gives_the_same_losses_and_weights(
    items: list[TrainItem], features: Path, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
        if stage == "epochs" and done == 2:
            raise Stopped

    whole = run(items, tmp_path / "whole", features)
    with pytest.raises(Stopped):
        run(items, tmp_path / "parts", features, on_progress=stop)
    assert len(losses(tmp_path / "parts")) == 2
    assert not (tmp_path / "parts" / "config.json").exists()
    seen: list[int] = []
    parts = run(
        items, tmp_path / "parts", features, on_progress=lambda s, d, t, f: seen.append(d) if s == "epochs" else None
    )
    assert seen == [3, 4]
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert parts.fingerprint == whole.fingerprint
    assert sorted(p.name for p in (tmp_path / "parts").iterdir()) == sorted(
        p.name for p in (tmp_path / "whole").iterdir()
    )


def test_training_again_changes_nothing(items: list[TrainItem], features: Path, tmp_path: Path) -> None:
    first = run(items, tmp_path, features, epochs=1)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "tokens-of-a-killed-run").mkdir()
    (tmp_path / "tokens-of-a-killed-run" / "plain.tokens").write_bytes(b"left behind")
    again = run(items, tmp_path, features, epochs=1)
    assert again == replace(first, unchanged=True)
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert run(items, tmp_path, features, epochs=1, seed=1).fingerprint != first.fingerprint


def test_test_items_are_not_opened_and_broken_ones_are_counted(
    items: list[TrainItem], features: Path, tmp_path: Path
) -> None:
    def broken() -> None:
        raise BadPicture("cut short")

    def guarded(item: TrainItem) -> TrainItem:
        return (
            replace(item, open_picture=lambda: pytest.fail("a test item was opened")) if item.part == "test" else item
        )

    given = [guarded(item) for item in items]
    place = next(n for n, item in enumerate(given) if item.part == "train")
    given[place] = replace(given[place], open_picture=broken)  # type: ignore[arg-type]
    report = run(given, tmp_path, features, epochs=1)
    assert report.skipped == 1
    assert report.train_items == sum(item.part == "train" for item in items) - 1
    assert report.val_items == sum(item.part == "val" for item in items)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"epochs": 0}, BadInput, "training.epochs = 0"),
        ({"config": "nowhere"}, NotFound, "nowhere.*does not exist"),
        ({"config": "nowhere.json"}, NotFound, "nowhere.json"),
    ],
)
def test_bad_options(
    items: list[TrainItem],
    features: Path,
    tmp_path: Path,
    options: dict[str, object],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        run(items, tmp_path / "out", features, **options)


def test_unknown_encoder_and_foreign_config(items: list[TrainItem], tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="capture_xl"):
        train("capture_xl", items, tmp_path)
    with pytest.raises(BadInput, match="is for encoder 'clip_style'"):
        train("other", items, tmp_path, config="clip_style")


@pytest.mark.parametrize(("text", "words"), [("{", "is no config"), ("{}", "encoder = {}: Field required")])
def test_broken_config_file(items: list[TrainItem], tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "my.json").write_text(text)
    with pytest.raises(BadInput, match=words):
        train("clip_style", items, tmp_path / "out", config=tmp_path / "my.json")


def test_too_few_items(items: list[TrainItem], features: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="1 items to train on"):
        run([item for item in items if item.part == "train"][:1], tmp_path, features)


def test_a_training_that_runs_away_is_stopped(items: list[TrainItem], features: Path, tmp_path: Path) -> None:
    config = load_config("clip_style_tiny")
    config["training"] |= {"rate": 1e18, "warmup": 0.0, "clip": 1e18}
    (tmp_path / "wild.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=r"epoch \d, loss .* must be finite"):
        run(items, tmp_path / "out", features, config=tmp_path / "wild.json")
    assert not (tmp_path / "out" / "config.json").exists()


def test_each_epoch_takes_the_items_in_another_order(
    items: list[TrainItem], features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The released loader of CAPTURE does not shuffle: its batches are the same ones in every epoch."""
    real, steps = TokenTable.batch, []

    def batch(self: TokenTable, rows: np.ndarray, device: str, **options: object) -> object:
        if options:  # of the training; validation asks for the plain view
            steps.append(set(rows.tolist()))
        return real(self, rows, device, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(TokenTable, "batch", batch)
    config = load_config("clip_style_tiny")
    config["training"]["batch"] = 16
    (tmp_path / "my.json").write_text(json.dumps(config))
    report = run(items, tmp_path / "out", features, epochs=2, config=tmp_path / "my.json")
    each = report.train_items // 16
    assert len(steps) == 2 * each
    first, second = steps[:each], steps[each:]
    assert sum(map(len, first)) == len(set.union(*first)) == 16 * each  # each item once
    assert not any(one in second for one in first)
