"""Writes the two lock files of the images from pyproject.toml: `make lock` (`uv` resolves for Linux x86-64).

The CPU image takes the builds of torch without CUDA from PyTorch's own index, which gives no hashes to lock: there it
is held by its exact version (Dockerfile, TORCH), everything else by hashes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
EXTRAS = ("encoders", "offline", "chinese", "fast", "redis", "otel", "flower")
PYTHON = "3.12"
CUDA_ONLY = re.compile(r"(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")
HEAD = "# Written by `make lock` from pyproject.toml, for Python {python} on Linux x86-64 ({variant}). Do not edit.\n"


def resolve(lock: Path) -> str:
    """Every package with its hashes; versions that the file has stay where they may, unless `--upgrade` is given."""
    command = ["uv", "pip", "compile", str(HERE.parent / "pyproject.toml"), "--generate-hashes", "--no-header"]
    command += ["--quiet", "--no-annotate", "--python-version", PYTHON, "--python-platform", "x86_64-manylinux_2_28"]
    command += [word for extra in EXTRAS for word in ("--extra", extra)]
    command += ["--output-file", str(lock), *(["--upgrade"] if "--upgrade" in sys.argv else [])]
    subprocess.run(command, check=True)
    return "".join(line for line in lock.read_text("utf-8").splitlines(keepends=True) if not line.startswith("#"))


def without_cuda(lock: str) -> str:
    """The lock less torch and what only its CUDA build needs."""
    entries = re.split(r"(?m)^(?=\S)", lock)
    return "".join(entry for entry in entries if not CUDA_ONLY.match(entry))


def main() -> None:
    gpu = HERE / "requirements-gpu.lock"
    lock = resolve(gpu)
    gpu.write_text(HEAD.format(python=PYTHON, variant="CUDA") + lock, encoding="utf-8")
    cpu = HERE / "requirements-cpu.lock"
    cpu.write_text(HEAD.format(python=PYTHON, variant="CPU, without torch") + without_cuda(lock), encoding="utf-8")
    for path in (gpu, cpu):
        print(f"{path.relative_to(HERE.parent)}: {path.read_text().count('==')} packages")


if __name__ == "__main__":
    main()
