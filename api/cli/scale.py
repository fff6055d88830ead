"""`skugraph scale`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings, progress, say

__all__ = ["scale"]


def scale(
    listings: Annotated[int, typer.Argument(help="How many listings the catalogue has, up to 10,000,000")],
    seed: Annotated[int, typer.Option("--seed", help="Decides everything")] = 7,
    dim: Annotated[int, typer.Option("--dim", help="Length of the vectors")] = 256,
    vectors: Annotated[bool, typer.Option("--vectors/--no-vectors", help="Also load the vectors")] = True,
    files: Annotated[
        Path | None, typer.Option("--files", metavar="DIR", help="Write table, map, edges and vectors there instead")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load a made-up catalogue of any size, graph and vectors: how does this machine cope, before your own is there?

    Brands, categories, attributes, sellers and prices are as uneven as in real catalogues. The graph is what `ingest`
    would make of it, the vectors make neighbours of what has much in common. A load that was stopped goes on where it
    was. There is no encoder behind the vectors: search with `--like ID`, or with vectors of your own.

    Example: `skugraph scale 100000 --home big`
    """
    from kg.scale import Scale, load, write
    from kg.stores import open_stores

    wanted = Scale(listings, seed=seed, dim=dim)
    if files is not None:
        with progress(quiet=as_json) as update:
            write(wanted, files, lambda done: update("files", done, listings))
        document: dict[str, Any] = {"files": str(files), "listings": listings}
        emit(document, as_json, lambda: say(f"{listings:,} listings in {files}: `skugraph ingest` takes the table"))
        return
    settings = open_settings(home)
    with open_stores(settings) as stores, progress(quiet=as_json) as update:
        loaded = load(stores, wanted, update, vectors=vectors)
    document = {
        "listings": loaded.listings,
        "edges": loaded.edges,
        "vectors": loaded.vectors,
        "generation": loaded.generation,
        "seconds": loaded.seconds,
        "rows_per_s": loaded.rows_per_s,
    }

    def page() -> None:
        say(f"{loaded.listings:,} listings, {loaded.edges:,} edges, {loaded.vectors:,} vectors")
        say(", ".join(f"{part} {seconds:.1f} s" for part, seconds in loaded.seconds.items()))
        say(f"{loaded.rows_per_s:,.0f} rows/s into the graph")

    emit(document, as_json, page)
