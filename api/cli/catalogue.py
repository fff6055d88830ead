"""`skugraph ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings, progress, say

if TYPE_CHECKING:
    from kg.catalogue.columns import ColumnMap
    from kg.catalogue.ingest import IngestReport

__all__ = ["column_map", "ingest"]


def ingest(
    table: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet")],
    images: Annotated[
        str | None, typer.Option("--images", metavar="PATH", help="Folder or zip of pictures, or a base URL")
    ] = None,
    map: Annotated[
        str | None, typer.Option("--map", metavar="FILE.toml", help="Column map, or the name of a ready-made one")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", metavar="FILE", help="Where bad rows go (default TABLE.rejects.jsonl)")
    ] = None,
    sync: Annotated[bool, typer.Option("--sync", help="Also remove the products that the table lacks")] = False,
    renew_phrases: Annotated[
        bool,
        typer.Option("--renew-phrases", help="Mine phrases from the captions anew, however little has changed"),
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a catalogue into the graph: new rows are added, changed ones updated, the rest is left alone.

    Without --map one is guessed from the columns, shown, used, and written beside the table for editing.

    Example: `skugraph ingest items.csv --images pictures.zip --map shop.toml`
    """
    from kg.catalogue.ingest import ingest as run
    from kg.catalogue.readers import count_rows_hint
    from kg.errors import BadInput
    from kg.stores import open_stores

    settings = open_settings(home)
    if not table.is_file():
        raise BadInput(f"table {str(table)!r} is not a file")
    columns, shown = column_map(table, map)
    if shown and not as_json:
        say(shown, style="dim")
    rejects = rejects or Path(f"{table.name}.rejects.jsonl")
    with open_stores(settings) as stores, progress(quiet=as_json) as update:
        total = count_rows_hint(table)

        def seen(report: IngestReport) -> None:
            update("ingest", report.read, max(total, report.read))

        recognise = None
        if settings.entity_model:
            from encoders.ner import recogniser

            recognise = recogniser(settings.entity_model, device=settings.device)
        report = run(
            stores, table, images, columns, rejects=rejects, sync=sync, progress=seen, recognise=recognise,
            renew_phrases=renew_phrases,
        )  # fmt: skip
    document = report.json() | {"rejects": str(rejects) if report.rejected else None}

    def page() -> None:
        counts = ("read", "written", "updated", "unchanged", "rejected", "removed")
        say(", ".join(f"{getattr(report, name):,} {name}" for name in counts))
        say(f"{report.seconds:.1f} s, {report.rows_per_s:,.0f} rows/s")
        if report.sync_skipped:
            say("nothing was removed: some rejected row has no readable id", style="yellow")
        if report.rejected:
            say(f"rejected rows, each with its reason: {rejects}", style="yellow")

    emit(document, as_json, page)


def column_map(table: Path, named: str | None) -> tuple[ColumnMap, str]:
    """The map of that name or file; or one guessed from the table, and what to say about it.

    Raises:
        BadColumnMap: it is not valid, or none can be guessed.
    """
    from kg.catalogue.columns import ColumnMap
    from kg.catalogue.readers import table_columns

    if named is not None:
        return ColumnMap.load(named), ""
    guessed = ColumnMap.guess(*table_columns(table))
    text = guessed.to_toml()
    draft = table.with_name(f"{table.name}.map.toml")
    try:
        with draft.open("x", encoding="utf-8") as file:
            file.write(text)
        where = f"to be edited in {draft}"
    except FileExistsError:  # it may have been edited since
        where = f"{draft} is left as it is: --map uses it"
    except OSError as error:
        where = f"{draft} cannot be written: {error.strerror}"
    return guessed, f"no --map: guessed this one ({where})\n\n{text}"
