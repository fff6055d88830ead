"""How well encoders retrieve, by the protocols of docs/encoders.md.

    python -m benchmarks.quality --data DIR [--test-data DIR] --protocol 2 --encoders clip_style,capture,capture+no_mlm
        --seeds 3 --out FILE [--report DIR]

An encoder is the name of a training config (encoders/configs), with changes after "+". It is trained for each seed on
the data's own train and validation split; test is looked at once, for the table. What an answer depends on beside the
weights (whole picture or regions, how their lists merge, pictures or texts of the gallery) is chosen on validation,
over all seeds alike. Checkpoints, tables of tokens, detectors and the feature cache stay in --work and serve all
encoders: a second run trains nothing again. On a CPU as many trainings run at a time as there are cores, each in a
process and a thread of its own: that is faster than one after the other with all of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

from benchmarks.figures import machine, write_json
from benchmarks.quality_answers import remembering
from benchmarks.quality_choice import Measured, choose
from benchmarks.quality_data import Benchmark, fashion, grocery
from benchmarks.quality_entities import entities
from benchmarks.quality_fashiongen import DEFAULT, TEMPLATES, fashiongen, is_fashiongen
from benchmarks.quality_report import print_results, write_report
from benchmarks.quality_rooms import rooms
from encoders import load
from encoders.config import load_config
from encoders.device import choose_device
from encoders.training import TrainReport, train
from kg.errors import SkugraphError

__all__ = ["main", "measure"]

PROTOCOLS: dict[int, Callable[[Path, Path | None, bool], Benchmark]] = {1: fashion, 2: rooms, 3: grocery}
MEMORY = 4e9  # bytes of a training, tables that are mapped included
ENTITIES = 4  # the protocol that trains nothing
QUICK_EPOCHS = 2
QUICK_DETECTOR = {"scenes": {"number": 96, "held_out": 16}, "training": {"epochs": 4, "batch": 16}}


def measure(
    benchmark: Benchmark, config: str, seed: int, work: Path, epochs: int | None, quick: bool = False
) -> tuple[TrainReport, Measured, float]:
    """Trains one encoder, or finds it trained, and measures it; the last is the seconds that the measuring took."""
    name = Path(config).name.replace(".json", "")
    folder = work / f"{benchmark.name}-{name}-{seed}"
    config = _changed(config, benchmark)
    chosen = load_config(config)
    if quick and isinstance(chosen["detector"], dict):
        chosen["detector"] = {"train": {**chosen["detector"]["train"], **QUICK_DETECTOR}}
        config = str(work / f"{name}.json")
        write_json(Path(config), chosen)
    report = train(
        chosen["encoder"],
        benchmark.training,
        folder,
        seed=seed,
        epochs=QUICK_EPOCHS if quick else epochs,
        config=config,
        cache=work / "features",
        tables=work / "tables",
        on_progress=lambda stage, done, total, figures: _say(f"{name} seed {seed} {stage}", done, total, figures),
    )
    began = time.monotonic()
    measured = benchmark.measure(remembering(load(folder, cache=work / "features")))
    seconds = round(time.monotonic() - began, 1)
    print(f"{name} seed {seed} measured in {seconds} s", flush=True)
    return report, measured, seconds


class Run(NamedTuple):
    """One encoder, one seed."""

    config: str
    seed: int


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        document = _entities(options) if options.protocol == ENTITIES else _encoders(options)
        if options.report:
            write_report(document, options.report)
    except SkugraphError as error:
        print(error)
        return 2
    print_results(document)
    return 0


def _encoders(options: argparse.Namespace) -> dict[str, Any]:
    """The document of protocols 1 to 3."""
    benchmark = _benchmark(options)
    configs = list(dict.fromkeys(options.encoders.split(",")))
    wanted = [Run(config, seed) for config in configs for seed in range(options.seeds)]
    jobs = min(options.jobs or _jobs(), len(wanted))
    budget: dict[str, Any] = {
        "protocol": options.protocol,
        "quick": options.quick,
        "jobs": jobs,
        "threads": torch.get_num_threads() if jobs == 1 else 1,
        **benchmark.facts,
        "configs": {config: load_config(_changed(config, benchmark)) for config in configs},
        "trainings": [],
        "machine": machine(),
    }
    found: dict[Run, Measured] = {}
    began = time.monotonic()
    for run, report, measured, seconds in _measured(options, benchmark, wanted, jobs):
        found[run] = measured
        own = {"encoder": run.config, "seed": run.seed, "folder": Path(report["folder"]).name, "measuring_s": seconds}
        budget["trainings"].append(report | own)
        budget["seconds"] = round(time.monotonic() - began, 1)
        runs = {config: [found[one] for one in wanted if one.config == config and one in found]
                for config in configs if any(one.config == config for one in found)}  # fmt: skip
        document = _document(budget, runs, benchmark.criterion)
        if options.out:  # after each seed: a long run that is stopped leaves what it found
            write_json(options.out, document)
    return document


def _benchmark(options: argparse.Namespace) -> Benchmark:
    if options.protocol == 1 and is_fashiongen(options.data):
        return fashiongen(options.data, options.test_data, options.quick, options.template)
    return PROTOCOLS[options.protocol](options.data, options.test_data, options.quick)


def _jobs() -> int:
    """Trainings at a time: one where there is a GPU, else one for each core, as far as memory reaches."""
    if choose_device("auto") != "cpu":
        return 1
    memory = int(psutil.virtual_memory().available / MEMORY)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, memory))


def _measured(
    options: argparse.Namespace, benchmark: Benchmark, wanted: list[Run], jobs: int
) -> Iterator[tuple[Run, dict[str, Any], Measured, float]]:
    """What each run gave, as it comes."""
    work = options.work / "quick" if options.quick else options.work
    if jobs == 1:
        for run in wanted:
            report, measured, seconds = measure(benchmark, *run, work, options.epochs, options.quick)
            yield run, asdict(report), measured, seconds
        return
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # the children's torch reads it when it loads
    with ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(options,)
    ) as pool:
        waiting = {pool.submit(_child, run, work, options.epochs, options.quick): run for run in wanted}
        try:
            for done in as_completed(waiting):
                yield waiting[done], *done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _begin(options: argparse.Namespace) -> None:
    """In a child: the benchmark is read once."""
    global _own
    _own = _benchmark(options)


_own: Benchmark | None = None


def _child(run: Run, work: Path, epochs: int | None, quick: bool) -> tuple[dict[str, Any], Measured, float]:
    assert _own is not None
    report, measured, seconds = measure(_own, *run, work, epochs, quick)
    return asdict(report), measured, seconds


def _entities(options: argparse.Namespace) -> dict[str, Any]:
    """The document of protocol 4."""
    document = entities(options.data, options.test_data, options.encoders.split(","), options.quick)
    if options.out:
        write_json(options.out, document)
    return document


def _changed(config: str, benchmark: Benchmark) -> str:
    """The config as this protocol trains it: its own changes come last. One whose tokens are a detector's regions keeps
    its detector."""
    first, *own = [config] if Path(config).is_file() else config.split("+")
    kept = load_config(config)["picture"]["tokens"] == "regions"
    changes = [change for change in benchmark.changes if not (kept and change == "no_detector")]
    return "+".join([first, *changes, *own])


def _document(budget: dict[str, Any], runs: dict[str, list[Measured]], criterion: str) -> dict[str, Any]:
    """Figures on test; how each was chosen; and what it was chosen by: the mean over the seeds on validation."""
    results: list[dict[str, Any]] = []
    chosen: dict[str, dict[str, Any]] = {}
    validation: list[dict[str, Any]] = []
    for encoder, measured in runs.items():
        figures, ways = choose(measured, criterion)
        for seed, values in enumerate(figures):
            results += [{"encoder": encoder, "seed": seed, "metric": k, "value": v} for k, v in values.items()]
        chosen[encoder] = {name: way._asdict() for name, way in ways.items() if name}
        validation += [
            {"encoder": encoder, "seed": seed, **way._asdict(), "metric": criterion, "value": found.val[criterion]}
            for seed, one in enumerate(measured)
            for way, found in one.ways.items()
            if criterion in found.val
        ]
    return {"budget": budget, "results": results, "chosen": chosen, "validation": validation}


def _say(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
    print(f"{stage} {done}/{total} " + " ".join(f"{name}={value:.3f}" for name, value in figures.items()), flush=True)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: at least 1")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set: tables and images.zip")
    parser.add_argument("--test-data", type=Path, help="folder of the same layout whose rows are all test")
    parser.add_argument("--protocol", type=int, choices=(1, 2, 3, 4), required=True)
    parser.add_argument(
        "--encoders",
        default="clip_style",
        help="training configs, by name or path, comma between; protocol 4: mined, mined_unseen, jieba, ngrams",
    )
    parser.add_argument("--seeds", type=_count, default=1, help="how many, from 0")
    parser.add_argument("--jobs", type=_count, help="trainings at a time; default: one for each core, one on a GPU")
    parser.add_argument("--epochs", type=int, help="instead of the configs'")
    parser.add_argument(
        "--template", default=DEFAULT, choices=TEMPLATES, help="text of a product of Fashion-Gen (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the items, two epochs: does it run at all?")
    parser.add_argument("--work", type=Path, default=Path("build/quality"), help="checkpoints and feature cache")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--report", type=Path, help="folder for a table (Markdown) and plots (PNG, extra `plots`)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
