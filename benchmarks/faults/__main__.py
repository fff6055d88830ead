"""The long run: kill -9 at random under search load, round after round, each time with the other encoder.

    python -m benchmarks.faults [--rounds N] [--kills N] [--seed N] [--size N] [--workers N] [--out FILE]

Everything runs on loopback in a temporary home: API, worker, embedded stores, and Redis where `redis-server` is found.
A line is printed for each kill. Ends with status 1 where anything was lost, doubled, mixed or failed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.cheap import write_cheap
from benchmarks.faults.rig import Rig
from benchmarks.faults.shop import Shop
from benchmarks.faults.soak import Soak
from benchmarks.figures import machine, write_json
from kg.home import Home
from kg.settings import load_settings

__all__ = ["KILLED", "killable", "main", "open_soak"]

KILLED = ("worker", "api", "graph", "vectors", "broker", "supervisor")
PAUSE_MS = 100  # of a forward pass: so that the kills fall into the embedding


def settings(folder: Path, **more: object) -> dict[str, object]:
    """Of a rig in this folder."""
    home = Home(folder / "home").create().root
    return {"home": home, "rate_limit_per_minute": 0, "stores_linger_s": 30, **more}


def open_soak(rig: Rig, folder: Path, *, products: int, seed: int = 0, **options: object) -> Soak:
    """A shop and two cheap encoders for this rig."""
    old = write_cheap(rig.home.models / "old", seed=1)
    new = write_cheap(rig.home.models / "new", seed=2, dim=48, pause_ms=PAUSE_MS)
    return Soak(rig, Shop(folder, products, seed=seed), (old, new), seed=seed, **options)  # type: ignore[arg-type]


def killable(rig: Rig) -> list[str]:
    """Its processes that may be killed; there is no broker without Redis, and no supervisor without embedded stores."""
    there = {"supervisor": rig.embedded, "broker": "broker" in rig.kept}
    return [name for name in dict.fromkeys((*KILLED, *rig.kept)) if there.get(name, True)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kills", type=int, default=20, help="of each round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=4000, help="products; each is two instances")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--heal", type=float, default=0.5, help="share of the kills after which all comes back first")
    parser.add_argument("--out", type=Path, help="JSON report; every reply goes beside it, as lines of JSON")
    options = parser.parse_args()
    began, rounds = time.monotonic(), []
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        with Rig(load_settings(**settings(folder)), workers=options.workers) as rig:
            record = options.out.with_suffix(".replies.jsonl") if options.out else None
            if record is not None:
                record.parent.mkdir(parents=True, exist_ok=True)
                record.unlink(missing_ok=True)
            soak = open_soak(rig, folder, products=options.size, seed=options.seed, record=record)
            soak.prepare()
            print(f"{time.monotonic() - began:7.1f} s  {options.size:,} products embedded", flush=True)
            for number in range(options.rounds):
                soak.seed = options.seed + number
                report = soak.run(options.kills, killable(rig), heal=options.heal)
                rounds.append({"seed": soak.seed, **report.json()})
                said = "clean" if report.clean else "NOT CLEAN"
                print(f"{time.monotonic() - began:7.1f} s  round {number + 1} of {options.rounds}: {said}", flush=True)
                if options.out:
                    write_json(options.out, {"machine": machine(), "size": options.size, "rounds": rounds})
    return 0 if all(one["clean"] for one in rounds) else 1


if __name__ == "__main__":
    raise SystemExit(main())
