"""Run files and locks: what the processes of one home know of each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kg.home import Home, locked, try_lock


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def test_folders_are_the_owners(home: Home) -> None:
    for folder in (home.root, home.graph, home.vectors, home.broker, home.cache, home.models, home.run, home.log):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert home.create() == home


def test_run_file_of_a_living_process(home: Home) -> None:
    home.write_run("api", uri="http://x")
    known = home.read_run("api")
    assert known is not None
    assert (known["pid"], known["uri"]) == (os.getpid(), "http://x")
    assert (home.run / "api.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.run.iterdir()] == ["api.json"]
    home.forget_run("api")
    home.forget_run("api")
    assert home.read_run("api") is None


def test_run_file_of_a_dead_process_counts_for_nothing(home: Home) -> None:
    code = "import sys; from pathlib import Path; from kg.home import Home; Home(Path(sys.argv[1])).write_run('x', n=1)"
    subprocess.run([sys.executable, "-c", code, str(home.root)], cwd=Path(__file__).parents[2], check=True)
    assert home.read_run("x") is None
    known = home.read_run("x", stale=True)
    assert known is not None
    assert known["n"] == 1


def test_pid_taken_by_another_process(home: Home) -> None:
    home.write_run("x")
    path = home.run / "x.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": 1.0}))
    assert home.read_run("x") is None


def test_torn_run_file(home: Home) -> None:
    (home.run / "x.json").write_text('{"pid": ')
    assert home.read_run("x") is None


def test_secret_stays_the_same(home: Home) -> None:
    path = home.graph / "p"
    assert len(home.secret(path)) >= 24
    assert home.secret(path) == home.secret(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_locks_shared_and_exclusive(home: Home) -> None:
    path = home.run / "lock"
    with locked(path, shared=True), locked(path, shared=True):
        assert try_lock(path) is None
        with pytest.raises(TimeoutError, match="lock"), locked(path, timeout_s=0.1):
            pass
    handle = try_lock(path)
    assert handle is not None
    assert try_lock(path, shared=True) is None
    os.close(handle)


def test_lock_of_a_killed_process_is_free(home: Home) -> None:
    path = home.run / "lock"
    code = "import sys, time; from pathlib import Path; from kg.home import try_lock\n"
    code += "try_lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert try_lock(path) is None
    holder.kill()
    holder.communicate()
    handle = try_lock(path)
    assert handle is not None
    os.close(handle)
