from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoders.config import ABLATIONS, CONFIGS, load_config
from kg.errors import BadInput, NotFound

NAMES = sorted(path.stem for path in CONFIGS.glob("*.json") if path != ABLATIONS)
CHANGES = json.loads(ABLATIONS.read_text())
OWN = ("node", "subgraph", "hard", "graph_text", "knows", "entity_text", "contrasted")
OF_ENTITIES = {
    change
    for change, values in CHANGES.items()
    if any(path.startswith("entities.") or path.removeprefix("model.") in OWN for path in values)
}

OF_LEARNER = {
    change
    for change, values in CHANGES.items()
    if any(path == "base" or path.startswith("learner.") for path in values)
}

UNDONE = {"not_appended", "not_bare", "not_kept"}  # changes of what only some configs have: it is left away altogether


@pytest.mark.parametrize("name", NAMES)
def test_packaged_configs_are_whole(name: str) -> None:
    config = load_config(name)
    assert config["training"]["epochs"] >= 1
    assert config["training"]["precision"] == "auto"


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_changes_its_config_and_nothing_else(change: str) -> None:
    name = "ei_clip" if change in OF_LEARNER else "ege_cmp" if change in OF_ENTITIES else "capture"
    name = "skugraph_base" if change in UNDONE else name
    plain, changed = load_config(name), load_config(f"{name}+{change}")
    for path, value in CHANGES[change].items():
        *parts, last = path.split(".")
        left, right = plain, changed
        for part in parts:
            left, right = left[part], right[part]
        if not value and last not in right:
            assert left[last]
            right[last] = left[last]
            continue
        assert right[last] == value or right[last] == value | {k: right[last][k] for k in right[last].keys() - value}
        if last in left:
            right[last] = left[last]
        else:
            del right[last]
    assert plain == changed


def test_changes_add_up_and_the_last_one_wins(tmp_path: Path) -> None:
    both = load_config("capture+no_mlm+no_cross")
    assert both["model"]["mlm"] == 0
    assert both["model"]["layers"] == [1, 0, 1]
    assert load_config("capture+no_cross+no_joint")["model"]["layers"] == [1, 1, 0]
    path = tmp_path / "my+own.json"
    path.write_text((CONFIGS / "capture.json").read_text())
    assert load_config(path) == load_config("capture")
    path.rename(tmp_path / "mine.json")
    assert load_config(f"{tmp_path}/mine.json+no_mrm", epochs=3) == load_config("capture+no_mrm", epochs=3)


def test_unknown_names() -> None:
    with pytest.raises(NotFound, match=r"'captur' does not exist.*capture, "):
        load_config("captur+no_mlm")
    with pytest.raises(NotFound, match=r"change 'no_such' of a config does not exist.*no_mlm"):
        load_config("capture+no_such")
    with pytest.raises(NotFound, match="'ablations2' does not exist"):
        load_config("ablations2")


def test_the_table_of_changes_is_no_config() -> None:
    with pytest.raises(BadInput, match="Field required"):
        load_config("ablations")


def test_values_out_of_range_are_named(tmp_path: Path) -> None:
    config = json.loads((CONFIGS / "capture.json").read_text())
    config["picture"]["tokens"] = "pixels"
    (tmp_path / "my.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=r"picture\.tokens = 'pixels'"):
        load_config(tmp_path / "my.json")
