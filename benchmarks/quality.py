"""How well encoders retrieve, by the protocols of docs/encoders.md.

    python -m benchmarks.quality --data DIR [--test-data DIR] --protocol 1 --encoders clip_style --seeds 3 --out FILE

An encoder is the name of a training config (encoders/configs). It is trained for each seed on the data's own train and
validation split; test is looked at once, for the table. Checkpoints and the feature cache stay in --work: a second run
trains nothing again.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import machine, print_table, write_json
from benchmarks.quality_data import Benchmark, fashion, grocery
from encoders import load
from encoders.config import load_config
from encoders.training import TrainReport, train
from kg.errors import SkugraphError

__all__ = ["main", "measure"]

PROTOCOLS: dict[int, Callable[[Path, Path | None, bool], Benchmark]] = {1: fashion, 3: grocery}
LATER = {2: "CAPTURE (rooms need regions)", 4: "EGE-CMP (entity extraction is measured with it)"}
QUICK_EPOCHS = 2


def measure(
    benchmark: Benchmark, config: str, seed: int, work: Path, epochs: int | None
) -> tuple[TrainReport, dict[str, float]]:
    """Trains one encoder, or finds it trained, and measures it on test."""
    folder = work / f"{benchmark.name}-{Path(config).stem}-{seed}"
    report = train(
        str(load_config(config)["encoder"]),
        benchmark.training,
        folder,
        seed=seed,
        epochs=epochs,
        config=config,
        cache=work / "features",
        on_progress=lambda stage, done, total, figures: _say(f"{config} seed {seed} {stage}", done, total, figures),
    )
    return report, benchmark.evaluate(load(folder, cache=work / "features"))


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.protocol in LATER:
        print(f"protocol {options.protocol} comes with {LATER[options.protocol]}; there are {sorted(PROTOCOLS)}")
        return 2
    try:
        benchmark = PROTOCOLS[options.protocol](options.data, options.test_data, options.quick)
        epochs = QUICK_EPOCHS if options.quick else options.epochs
        work = options.work / "quick" if options.quick else options.work
        budget: dict[str, Any] = {
            "protocol": options.protocol,
            "quick": options.quick,
            "threads": torch.get_num_threads(),
            **benchmark.facts,
            "configs": {config: load_config(config) for config in options.encoders.split(",")},
            "trainings": [],
            "machine": machine(),
        }
        results: list[dict[str, Any]] = []
        for config in budget["configs"]:
            for seed in range(options.seeds):
                report, values = measure(benchmark, config, seed, work, epochs)
                budget["trainings"].append({"encoder": config, "seed": seed, **asdict(report)})
                results += [{"encoder": config, "seed": seed, "metric": k, "value": v} for k, v in values.items()]
                if options.out:  # after each seed: a long run that is stopped leaves what it found
                    write_json(options.out, {"budget": budget, "results": results})
    except SkugraphError as error:
        print(error)
        return 2
    _print(results)
    return 0


def _print(results: list[dict[str, Any]]) -> None:
    """Mean and spread (standard deviation) over the seeds."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in results:
        values.setdefault((row["encoder"], row["metric"]), []).append(row["value"])
    print_table(
        ("encoder", "metric", "mean", "spread", "seeds"),
        [
            (encoder, metric, f"{statistics.mean(v):.2f}", f"{statistics.stdev(v):.2f}" if len(v) > 1 else "", len(v))
            for (encoder, metric), v in values.items()
        ],
    )


def _say(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
    print(f"{stage} {done}/{total} " + " ".join(f"{name}={value:.3f}" for name, value in figures.items()), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set: tables and images.zip")
    parser.add_argument("--test-data", type=Path, help="folder of the same layout whose rows are all test")
    parser.add_argument("--protocol", type=int, choices=(1, 2, 3, 4), required=True)
    parser.add_argument("--encoders", default="clip_style", help="training configs, by name or path, comma between")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0")
    parser.add_argument("--epochs", type=int, help="instead of the configs'")
    parser.add_argument("--quick", action="store_true", help="a tenth of the items, two epochs: does it run at all?")
    parser.add_argument("--work", type=Path, default=Path("build/quality"), help="checkpoints and feature cache")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
