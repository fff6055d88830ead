"""Tables and plots of what `benchmarks.quality` wrote.

    python -m benchmarks.quality_report quality-2.json [more.json …] --report docs/results

Several files of one protocol become one report: encoders that were measured in runs of their own.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import print_table, pyplot
from kg.errors import BadInput, SkugraphError

__all__ = ["main", "print_results", "write_report"]

Document = Mapping[str, Any]
Figures = dict[tuple[str, str], list[float]]  # (encoder, metric) → a value for each seed

# What the first table and plot of a protocol show: metric → heading.
HEADLINES: dict[int, dict[str, str]] = {
    1: {
        "i2t/R@1": "picture → title R@1",
        "i2t/R@10": "picture → title R@10",
        "t2i/R@1": "title → picture R@1",
        "t2i/R@10": "title → picture R@10",
        "sample100/i2t/R@1": "sample-100, picture → title R@1",
        "sample100/t2i/R@1": "sample-100, title → picture R@1",
        "half/i2t/R@1": "half of the entities given, picture → title R@1",
        "none/i2t/R@1": "titles alone, picture → title R@1",
        "cold/i2t/R@1": "unseen brands, picture → title R@1",
    },
    2: {
        "room/p1m_script/mAP@10": "script mAP@10",
        "room/p1m_normalised/mAP@10": "normalised mAP@10",
        "room/p1m_normalised/mAR@50": "normalised mAR@50",
        "room/mAP": "mAP",
        "room/R@10": "R@10",
        "room/R@50": "R@50",
        "room/nDCG@10": "nDCG@10",
        "room+type/p1m_script/mAP@10": "with room type: script mAP@10",
    },
    3: {
        "iconic+text/R@1": "iconic photo and text R@1",
        "iconic+text/mAP@10": "iconic photo and text mAP@10",
        "iconic+text/cartons/R@1": "iconic photo and text, cartons R@1",
        "photos/R@1": "training photos R@1",
        "photos/cartons/R@1": "training photos, cartons R@1",
    },
    4: {
        f"entity/{what}/{side}": f"{what} {side}"
        for what in ("label", "brand", "values")
        for side in ("precision", "recall", "f1")
    },
}
PLOTTED = {
    1: ("i2t/R@1", "t2i/R@1"),
    2: ("room/p1m_script/mAP@10", "room/p1m_normalised/mAP@10"),
    3: ("iconic+text/R@1", "photos/R@1"),
    4: ("entity/label/f1", "entity/brand/f1", "entity/values/f1"),
}
ANSWERS = ("whole", "round_robin", "max_score", "mean_top")
CRITERION = "p1m_script/mAP@10"
BASELINE = "clip_style"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")  # Okabe and Ito: told apart by all eyes


def print_results(document: Document) -> None:
    """Every metric, mean and spread (standard deviation) over the seeds."""
    print_table(
        ("encoder", "metric", "mean", "spread", "seeds"),
        [
            (encoder, metric, f"{statistics.mean(v):.2f}", f"{_spread(v):.2f}" if len(v) > 1 else "", len(v))
            for (encoder, metric), v in _figures(document).items()
        ],
    )


def write_report(document: Document, folder: Path) -> list[Path]:
    """Writes `quality-N.md` and, where matplotlib is installed, its plots beside it; gives the files.

    Raises:
        BadInput: the document holds no results of a protocol that has a report.
    """
    protocol = document.get("budget", {}).get("protocol")
    figures = _figures(document)
    if protocol not in HEADLINES or not figures:
        raise BadInput(f"protocol {protocol!r}, {len(figures)} figures: a report is made of protocols {[*HEADLINES]}")
    folder.mkdir(parents=True, exist_ok=True)
    plots = _plots(protocol, figures, folder)
    page = folder / f"quality-{protocol}.md"
    page.write_text(_page(protocol, document, figures, plots), encoding="utf-8")
    return [page, *plots]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality_report", description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="JSON of benchmarks.quality, all of one protocol")
    parser.add_argument("--report", type=Path, required=True, help="folder")
    options = parser.parse_args(arguments)
    try:
        for path in write_report(_joined(options.files), options.report):
            print(path)
    except SkugraphError as error:
        print(error)
        return 2
    return 0


def _joined(files: Sequence[Path]) -> Document:
    try:
        documents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    except (OSError, ValueError) as error:
        raise BadInput(f"no JSON of benchmarks.quality: {error}") from error
    if len({document["budget"]["protocol"] for document in documents}) > 1:
        raise BadInput(f"{', '.join(map(str, files))} are of several protocols: a report is of one")
    first = documents[0]
    for document in documents[1:]:
        first["results"] += document["results"]
        first["chosen"] |= document["chosen"]
        first["budget"]["trainings"] += document["budget"]["trainings"]
    return first


def _page(protocol: int, document: Document, figures: Figures, plots: Sequence[Path]) -> str:
    encoders = list(dict.fromkeys(encoder for encoder, _ in figures))
    seeds = max(map(len, figures.values()))
    budget = document["budget"]
    lines = [f"# Quality, protocol {protocol}", ""]
    lines += [f"Per cent, mean ± standard deviation over {seeds} seeds. Written by `benchmarks/quality_report.py`.", ""]
    facts = {k: v for k, v in budget.items() if k not in ("configs", "trainings", "machine", "protocol", "threads")}
    lines += [f"- {name}: {_fact(value)}" for name, value in facts.items()] + [""]
    lines += _table(encoders, HEADLINES[protocol], figures, ratio=True)
    if protocol == 2:
        heads = {f"room/{name}/{CRITERION}": name for name in ANSWERS}
        heads |= {f"room/by_{name}/{CRITERION}": f"gallery: {name}" for name in ("item", "picture", "text")}
        lines += ["", f"How the answer is made, {CRITERION}; each column's other choices are those of validation:", ""]
        lines += _table(encoders, heads, figures)
        lines += ["", f"Whole picture against regions, {CRITERION}, by type of room:", ""]
        lines += _by_type(encoders, figures)
    chosen = {
        e: _way(ways[name]) for e, ways in document.get("chosen", {}).items() for name in ("room",) if name in ways
    }
    if chosen:
        lines += ["", "Chosen on validation for a room photo alone:", ""]
        lines += [f"- {encoder}: {way}" for encoder, way in chosen.items()]
    lines += ["", *(line for plot in plots for line in (f"![{plot.stem}]({plot.name})", ""))]
    lines += budget["trainings"] and [
        "Trainings:",
        "",
        "| encoder | seed | epochs | items | seconds | of them new |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {t['encoder']} | {t['seed']} | {t['epochs']} | {t['train_items']:,} | {t['seconds']:,.0f} "
        f"| {'found trained' if t['unchanged'] else 'yes'} |"
        for t in budget["trainings"]
    ]
    return "\n".join(lines).rstrip() + "\n"


def _table(encoders: Sequence[str], heads: Mapping[str, str], figures: Figures, *, ratio: bool = False) -> list[str]:
    """An encoder a row; the best mean of a column is bold; with `ratio`, what the first column is above
    the baseline."""
    shown = {metric: head for metric, head in heads.items() if any((e, metric) in figures for e in encoders)}
    if not shown:
        return []
    first = next(iter(shown))
    best = {m: max(statistics.mean(figures[e, m]) for e in encoders if (e, m) in figures) for m in shown}
    base = figures.get((BASELINE, first)) if ratio else None
    lines = ["| encoder | " + " | ".join(shown.values()) + " |", "|---" * (1 + len(shown)) + "|"]
    for encoder in encoders:
        cells = []
        for metric in shown:
            values = figures.get((encoder, metric))
            cell = _cell(values)
            if values and len(encoders) > 1 and statistics.mean(values) == best[metric]:
                cell = f"**{cell}**"
            if values and base and metric == first and encoder != BASELINE:
                cell += f" ({100 * (statistics.mean(values) / max(statistics.mean(base), 1e-9) - 1):+.0f} %)"
            cells.append(cell)
        lines.append(f"| {encoder} | " + " | ".join(cells) + " |")
    return lines


def _by_type(encoders: Sequence[str], figures: Figures) -> list[str]:
    kinds = _kinds(figures)
    able = [encoder for encoder in encoders if (encoder, f"room/regions/{CRITERION}") in figures]
    if not able:
        return ["No encoder here has a detector."]
    lines = ["| encoder | answer | all | " + " | ".join(kinds) + " |", "|---" * (3 + len(kinds)) + "|"]
    for encoder in able:
        for answer in ("whole", "regions"):
            names = [f"room/{answer}/{CRITERION}", *(f"room/{answer}/type/{kind}/{CRITERION}" for kind in kinds)]
            cells = [_cell(figures.get((encoder, name))) for name in names]
            lines.append(f"| {encoder} | {answer} | " + " | ".join(cells) + " |")
    return lines


def _plots(protocol: int, figures: Figures, folder: Path) -> list[Path]:
    if pyplot() is None:
        return []
    encoders = list(dict.fromkeys(encoder for encoder, _ in figures))
    metrics = [metric for metric in PLOTTED[protocol] if any((e, metric) in figures for e in encoders)]
    heads = HEADLINES[protocol]
    bars = {heads[m]: [figures.get((e, m), []) for e in encoders] for m in metrics}
    plots = [_bars(folder / f"quality-{protocol}.png", encoders, bars, f"Protocol {protocol}: test, per cent")]
    able = [encoder for encoder in encoders if (encoder, f"room/regions/{CRITERION}") in figures]
    if able:
        top = max(able, key=lambda e: statistics.mean(figures[e, f"room/regions/{CRITERION}"]))
        kinds = _kinds(figures)
        bars = {
            {"whole": "whole picture", "regions": "regions"}[answer]: [
                figures.get((top, f"room/{answer}/{part}{CRITERION}"), [])
                for part in ("", *(f"type/{kind}/" for kind in kinds))
            ]
            for answer in ("whole", "regions")
        }
        plots.append(
            _bars(folder / "quality-2-types.png", ["all", *kinds], bars, f"{top}: {CRITERION} by type of room")
        )
    return plots


def _bars(path: Path, places: Sequence[str], bars: Mapping[str, Sequence[Sequence[float]]], title: str) -> Path:
    """Horizontal bars in groups, with the spread over the seeds as error bars, each with its value."""
    from matplotlib.figure import Figure

    height = 0.8 / len(bars)
    figure = Figure(figsize=(8, 1.2 + 0.34 * len(places) * len(bars)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for number, (name, groups) in enumerate(bars.items()):
        at = [place + (number - (len(bars) - 1) / 2) * height for place in range(len(places))]
        means = [statistics.mean(values) if values else 0.0 for values in groups]
        spreads = [_spread(values) for values in groups]
        several = any(len(values) > 1 for values in groups)
        axes.barh(at, means, height * 0.92, label=name, color=COLOURS[number])
        if several:
            axes.errorbar(means, at, xerr=spreads, fmt="none", ecolor="black", elinewidth=1, capsize=3)
        for y, mean, spread, values in zip(at, means, spreads, groups, strict=True):
            if values:
                axes.text(mean + spread, y, f" {mean:.1f}", va="center", fontsize=8)
    axes.set_yticks(range(len(places)), places)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.02 - 0.5 / len(places)), ncols=2)
    figure.savefig(path)
    return path


def _figures(document: Document) -> Figures:
    found: Figures = {}
    for row in document["results"]:
        found.setdefault((row["encoder"], row["metric"]), []).append(row["value"])
    return found


def _kinds(figures: Figures) -> list[str]:
    """Types of room, in the order of the figures."""
    end = f"/{CRITERION}"
    names = (metric for _, metric in figures if metric.startswith("room/regions/type/") and metric.endswith(end))
    return list(dict.fromkeys(name.removeprefix("room/regions/type/").removesuffix(end) for name in names))


def _cell(values: Sequence[float] | None) -> str:
    if not values:
        return "–"
    return f"{statistics.mean(values):.1f}" + (f" ± {_spread(values):.1f}" if len(values) > 1 else "")


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _way(way: Mapping[str, Any]) -> str:
    regions = f", at most {way['limit']} regions" if way["limit"] else ""
    return f"{way['method']}{regions}, gallery by {way['gallery']}"


def _fact(value: Any) -> str:
    return ", ".join(f"{k} {_fact(v)}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
