"""The command line: exit statuses, one JSON document, errors in one line, and the way from a table to a search."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kg.sample import write_sample
from kg.stores import Stores
from tests.api.cli.run import ROOT, answer, skugraph


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    heavy = "{'torch', 'pymilvus', 'neo4j', 'fastapi', 'celery', 'pyarrow', 'PIL', 'numpy'}"
    code = f"import sys, api.cli; sys.exit(', '.join({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""  # what was imported
    assert "ingest" in skugraph("--help").stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("ingest", "no-such-table.csv"), "no-such-table.csv"),
        (("ingest", "pyproject.toml", "--map", "no-such-map"), "no-such-map"),
        (("search",), "nothing is asked for"),
        (("search", "--image", "no-such.jpg"), "no-such.jpg"),
        (("search", "x", "--min-price", "5", "--max-price", "4"), "min_price 5 is above max_price 4"),
        (("search", "x", "--hops", "2"), "near, which is missing"),
        (("cypher", "RETURN $a", "--param", "a"), "give it as name=value"),
        (("jobs", "--pause"), "with the id of a job"),
        (("keys", "revoke", "nobody"), "nobody"),
        (("keys", "add", "shop", "--scope", "root"), "root"),
        (("eval", "--queries", "none.jsonl", "--qrels", "none.txt"), "none.txt"),
        (("eval", "--queries", "none.jsonl", "--qrels", "none.txt", "--use", "smell"), "smell"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path: Path, args: tuple[str, ...], says: str) -> None:
    (tmp_path / "home").mkdir()
    done = skugraph(*args, "--home", tmp_path / "home", "--json")
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert says in json.loads(done.stdout)["error"]["message"]
    assert done.stderr.splitlines()[0].startswith("error: ")
    assert not (tmp_path / "home" / "graph").exists()  # nothing was started


@pytest.mark.parametrize("args", [("search", "soap"), ("cypher", "RETURN 1"), ("jobs",), ("generations",)])
def test_a_mistyped_home_is_not_made_in_silence(tmp_path: Path, args: tuple[str, ...]) -> None:
    done = skugraph(*args, "--home", tmp_path / "tpyo")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: there is no home {tmp_path / 'tpyo'}\nhint: ")
    assert not (tmp_path / "tpyo").exists()


def test_unknown_options_and_settings_are_bad_input(tmp_path: Path) -> None:
    assert skugraph("search", "--colour", "red").returncode == 2
    (tmp_path / "skugraph.toml").write_text("colour = 'red'")
    done = skugraph("cypher", "RETURN 1", "--home", tmp_path)
    assert done.returncode == 2
    assert "colour" in done.stderr


def test_a_store_that_is_down_is_status_1_with_its_address(tmp_path: Path) -> None:
    done = skugraph("cypher", "RETURN 1", "--home", tmp_path, SKUGRAPH_GRAPH_URI="bolt://127.0.0.1:1")
    assert done.returncode == 1
    assert "the graph store at bolt://127.0.0.1:1 does not answer" in done.stderr
    assert "doctor" in done.stderr


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    token = skugraph("keys", "add", "shop", "--scope", "ingest", "--home", tmp_path).stdout.strip()
    assert token.startswith("sku_")
    [row] = json.loads(skugraph("keys", "list", "--json", "--home", tmp_path).stdout)
    assert (row["name"], row["scope"]) == ("shop", "ingest")
    assert token not in (tmp_path / "keys.json").read_text()
    assert skugraph("keys", "revoke", "shop", "--home", tmp_path).returncode == 0
    assert json.loads(skugraph("keys", "list", "--json", "--home", tmp_path).stdout) == []


def test_from_a_table_to_a_search(stores: Stores, tmp_path: Path) -> None:
    """Without a map, without an encoder: what words find. On both graph engines."""
    settings = stores.settings
    sample = write_sample(tmp_path / "sample", products=6)
    table = sample.table
    with table.open("a", encoding="utf-8") as file:
        file.write("LBAD,,No price at all,,,,,,,,,cheap,EUR,,,,\n")
    first = skugraph("ingest", table, "--images", sample.images, "--map", sample.map, cwd=tmp_path, settings=settings)
    assert first.returncode == 0, first.stderr
    assert "rows/s" in first.stdout
    [reject] = map(json.loads, (tmp_path / "listings.csv.rejects.jsonl").read_text().splitlines())
    assert (reject["id"], reject["field"], reject["value"]) == ("LBAD", "price", "cheap")
    again = answer("ingest", table, "--images", sample.images, "--map", sample.map, cwd=tmp_path, settings=settings)
    assert (again["written"], again["updated"], again["rejected"]) == (0, 0, 1)

    counted = answer("cypher", "MATCH (p:Product) RETURN count(p) AS n", settings=settings)
    assert counted["rows"] == [[again["unchanged"]]]
    by_id = answer("cypher", "MATCH (p:Product {id: $id}) RETURN p.id", "--param", "id=L0000a", settings=settings)
    assert by_id["rows"] == [["L0000a"]]
    assert skugraph("cypher", "CREATE (n)", settings=settings).returncode == 2

    reply = answer("search", "soap", "-k", 2, settings=settings)
    assert reply["requested"] == 2
    assert any("no generation is live" in note for note in reply["notes"])
    page = skugraph("search", "--brand", reply["hits"][0]["product"]["brand"], "-k", 1, settings=settings)
    assert page.returncode == 0
    assert "  1. " in page.stdout

    assert answer("generations", settings=settings) == answer("jobs", settings=settings) == []
    assert answer("migrate", "--dry-run", settings=settings)["steps"] == []
    doctor = skugraph("doctor", "--json", settings=settings)
    report = json.loads(doctor.stdout)
    assert doctor.returncode == 1
    assert any("no generation is live" in fault for fault in report["faults"])
    holds = {check["part"]: check["holds"] for check in report["checks"]}
    assert f"{again['unchanged']} Product" in holds["graph"]


def test_a_guessed_map_is_shown_and_written_for_editing(stores: Stores, tmp_path: Path) -> None:
    table = tmp_path / "items.csv"
    table.write_text("sku,product name,brand,price\n1,Green bottle,Aurora,2.50\n2,Blue jar,Aurora,3\n")
    done = skugraph("ingest", table, settings=stores.settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    draft = tmp_path / "items.csv.map.toml"
    assert 'title = "product name"' in done.stdout
    assert 'title = "product name"' in draft.read_text()
    assert answer("ingest", table, "--map", draft, settings=stores.settings)["unchanged"] == 2
    draft.write_text("# edited")
    again = skugraph("ingest", table, settings=stores.settings, cwd=tmp_path)
    assert "is left as it is" in again.stdout
    assert draft.read_text() == "# edited"
