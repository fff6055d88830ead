"""The command line as users run it: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from kg.settings import Settings
from workers.process import environment

__all__ = ["ROOT", "answer", "skugraph"]

ROOT = Path(__file__).parents[3]


def skugraph(
    *args: object, settings: Settings | None = None, cwd: Path = ROOT, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with these settings in its environment."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **(environment(settings) if settings else {}), **env}
    command = [sys.executable, "-m", "api.cli", *map(str, args)]
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=300, check=False)


def answer(*args: object, settings: Settings, **options: Any) -> Any:
    """The JSON document of a command that succeeds."""
    done = skugraph(*args, "--json", settings=settings, **options)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)
