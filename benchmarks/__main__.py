"""Every benchmark, one after the other, each in a process of its own.

    python -m benchmarks [--quick] --out DIR [--data DIR]

`--data` is a folder with the data sets `fashion9k`, `ikea`, `grocerystore` and `product1m-text`; without it the quality
benchmark is left out.
"""

from __future__ import annotations

import argparse
import pkgutil
import subprocess
import sys
from pathlib import Path

__all__ = ["commands", "main"]

# And "quality…", called for each protocol.
HELPERS = {"__main__", "cheap", "faults", "figures", "filtered_systems", "peers_asked"}
QUALITY = {1: "fashion9k", 2: "ikea", 3: "grocerystore", 4: "product1m-text"}  # protocol → data set


def commands(out: Path, data: Path | None, quick: bool) -> list[list[str]]:
    """Arguments of `python -m`, one list a benchmark."""
    flags = ["--quick"] if quick else []
    names = sorted(
        m.name
        for m in pkgutil.iter_modules([str(Path(__file__).parent)])
        if m.name not in HELPERS and not m.name.startswith("quality")
    )
    found = [[f"benchmarks.{name}", *flags, "--out", str(out / f"{name}.json")] for name in names]
    for protocol, name in QUALITY.items() if data else ():
        target = str(out / f"quality-{protocol}.json")
        found.append(
            ["benchmarks.quality", "--data", f"{data}/{name}", "--protocol", str(protocol), *flags, "--out", target]
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument("--data", type=Path, help="folder with the data sets")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for command in commands(options.out, options.data, options.quick):
        print(f"\n{' '.join(command)}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], check=False).returncode:
            failed.append(command[0])
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
