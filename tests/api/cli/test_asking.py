from __future__ import annotations

from pathlib import Path

import pytest

from api.cli.asking import filters_of
from kg.errors import BadFilter, BadInput
from tests.api.cli.run import skugraph


def test_options_and_tree_are_joined(tmp_path: Path) -> None:
    tree = {"any": [{"brand": "Aurora"}, {"not": {"max_price": 20}}]}
    file = tmp_path / "tree.json"
    file.write_text('{"any": [{"brand": "Aurora"}, {"not": {"max_price": 20}}]}', encoding="utf-8")
    assert filters_of({"brand": ["x"], "seller": None}, None) == {"brand": ["x"]}
    assert filters_of({"brand": None}, file.read_text()) == tree
    assert filters_of({"brand": ["x"], "near": []}, f"@{file}") == {"brand": ["x"], "all": [tree]}


@pytest.mark.parametrize("text", ["{", "", "@", "[" * 100_000])
def test_what_is_no_json_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"--filter"):
        filters_of({}, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere: No such file"):
        filters_of({}, f"@{tmp_path / 'nowhere'}")
    (tmp_path / "latin").write_bytes(b'{"brand": "\xe9"}')
    with pytest.raises(BadInput, match="utf-8"):
        filters_of({}, f"@{tmp_path / 'latin'}")
    with pytest.raises(BadFilter, match="is not JSON"):
        filters_of({}, "brand=x")


@pytest.mark.parametrize("command", [["search", "soap"], ["recommend", "--like", "p1"]])
def test_a_refusal_names_the_place_in_the_tree(command: list[str], tmp_path: Path) -> None:
    tree = '{"any": [{"brand": "x"}, {"not": {"brnd": "y"}}]}'
    done = skugraph(*command, "--seller", "z", "--filter", tree, "--home", tmp_path)
    assert done.returncode == 2
    assert "unknown filter 'all.0.any.1.not.brnd', did you mean 'brand'?" in done.stderr
