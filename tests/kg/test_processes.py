"""Whether a process is still that very process, whatever the clock says meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kg.home import Home
from kg.processes import alive, started_at

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are told apart by epoch seconds")
DAY_S = 86_400.0


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def move_the_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """As if somebody had set it: `time.time`, and the epoch second at which the system says it was started."""
    now, boot = time.time, psutil._pslinux.boot_time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot() + seconds)


@linux
@pytest.mark.parametrize("seconds", [DAY_S, -DAY_S, 3.0])
def test_who_lives_does_so_after_a_jump_of_the_clock(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    marks = {pid: started_at(pid) for pid in (os.getpid(), child.pid)}
    before = psutil.Process(child.pid).create_time()
    move_the_clock(monkeypatch, seconds)
    assert psutil.Process(child.pid).create_time() == pytest.approx(before + seconds), "the jump is one"
    for pid, mark in marks.items():
        assert mark is not None
        assert started_at(pid) == mark
        assert alive(pid, mark)


@linux
def test_a_run_file_is_believed_after_a_jump_of_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home").create()
    home.write_run("mine", value=1)
    move_the_clock(monkeypatch, DAY_S)
    found = home.read_run("mine")
    assert found is not None
    assert found["value"] == 1


def test_who_ended_is_dead_at_once(child: subprocess.Popen[bytes]) -> None:
    mark = started_at(child.pid)
    assert mark is not None
    child.send_signal(signal.SIGKILL)
    while alive(child.pid, mark):  # a zombie as soon as the signal has arrived, and nobody waits for it before
        time.sleep(0.01)
    assert started_at(child.pid) is None
    child.wait()
    assert not alive(child.pid, mark)


def test_a_pid_that_another_has_taken_is_not_that_process(child: subprocess.Popen[bytes]) -> None:
    mark = started_at(os.getpid())
    assert mark is not None
    assert not alive(child.pid, "1@00000000")
    assert not alive(os.getpid(), mark + "1"), "nor is one of another start of the kernel"


def test_marks_of_earlier_versions_are_still_read(child: subprocess.Popen[bytes]) -> None:
    epoch = psutil.Process(child.pid).create_time()
    assert alive(child.pid, epoch)
    assert alive(child.pid, str(epoch))
    assert not alive(child.pid, epoch - 60)
    for strange in (1.0, "1.0", "", "None"):
        assert not alive(child.pid, strange)
