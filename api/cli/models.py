"""Encoders: train, eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings, progress, say, table

__all__ = ["evaluate", "train"]


def train(
    encoder: Annotated[
        str,
        typer.Argument(help="Architecture or packaged config: clip_style, capture, ege_cmp, ei_clip, skugraph_base, …"),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Checkpoint folder; a stopped run goes on in it")],
    seed: Annotated[int, typer.Option("--seed", help="Of weights, order and dropout")] = 0,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Instead of the config's")] = None,
    config: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="JSON file, or the name of a packaged one")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train an encoder on what is ingested; the epoch that does best on validation is kept.

    Example: `skugraph train clip_style --out models/clip --seed 1`
    """
    from contextlib import closing
    from dataclasses import asdict

    from api.training import training_items
    from encoders.confounding import FILE
    from encoders.training import train as run
    from kg.catalogue.pictures import Pictures
    from kg.stores import open_stores

    settings = open_settings(home, filled=True)
    with (
        open_stores(settings) as stores,
        closing(Pictures.from_settings(settings)) as pictures,
        progress(quiet=as_json) as update,
    ):
        report = run(
            encoder,
            training_items(stores, pictures),
            out,
            seed=seed,
            epochs=epochs,
            config=config,
            device=settings.device,
            cache=stores.home.cache / "features",
            cache_gb=settings.feature_cache_gb,
            on_progress=lambda stage, done, total, figures: update(stage, done, total),
        )

    def page() -> None:
        kept = "this very training was there already" if report.unchanged else f"epoch {report.best_epoch} was kept"
        did = f"{report.encoder} on {report.train_items:,} pictures, {report.epochs} epochs, {report.seconds:.1f} s"
        say(f"{did}: {kept}")
        if report.skipped:
            say(f"{report.skipped:,} pictures could not be read", style="yellow")
        if report.metrics:
            say(f"on {report.val_items:,} validation pictures:")
            table(("metric", "value"), list(report.metrics.items()))
        say(f"next: skugraph embed --encoder {report.folder}")
        if (Path(report.folder) / FILE).is_file():
            say(f"which words misled it: skugraph confounding {report.folder}")

    emit(asdict(report), as_json, page)


def evaluate(
    queries: Annotated[Path, typer.Option("--queries", metavar="FILE", help="JSON lines, or id<TAB>text")],
    qrels: Annotated[Path, typer.Option("--qrels", metavar="FILE", help="TREC qrels: query 0 product grade")],
    run: Annotated[Path | None, typer.Option("--run", metavar="OUT", help="Write the results as a TREC run")] = None,
    use: Annotated[str, typer.Option("--use", help="Ask with the text or the image of the queries, or both")] = "both",
    k: Annotated[int, typer.Option("-k", min=1, help="Products wanted for each query")] = 100,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search with judged queries and measure: R@k, mAP, nDCG, MRR.

    A query has an `id`, and `text` or `image` (a file, relative to the queries) or both.

    Example: `skugraph eval --queries queries.jsonl --qrels qrels.txt --use image --run out.run`
    """
    from typing import get_args

    from api.backend import query_encoder
    from api.evaluation import Use, search_all
    from api.search import Searcher
    from encoders.evaluation import trec
    from kg.errors import BadInput
    from kg.stores import open_stores
    from kg.vectors import generations

    if use not in get_args(Use):
        raise BadInput(f"--use {use!r}: one of {', '.join(get_args(Use))}")
    settings = open_settings(home, filled=True)
    judged, asked = trec.read_qrels(qrels), trec.read_queries(queries)
    with open_stores(settings) as stores, progress(quiet=as_json) as update:
        searcher = Searcher(stores, query_encoder(settings))
        found = search_all(
            searcher, asked, use=cast("Use", use), k=k, progress=lambda done: update("search", done, len(asked))
        )
        live = generations.live(stores)
    if run is not None:
        trec.write_run(run, found)
    metrics = trec.judge(judged, found)
    document = {"generation": live.id if live else None, "use": use, "k": k, "queries": len(asked), "metrics": metrics}
    emit(document, as_json, lambda: table(("metric", "value"), list(metrics.items())))
