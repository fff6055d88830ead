"""`skugraph demo`."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.catalogue import column_map
from api.cli.common import HomeOption, JsonOption, emit, open_settings, progress, say
from api.cli.instances import print_instances
from api.cli.search import print_reply

__all__ = ["demo"]


def demo(
    data: Annotated[Path | None, typer.Option("--data", metavar="TABLE", help="Your own catalogue")] = None,
    images: Annotated[
        str | None, typer.Option("--images", metavar="PATH", help="Folder, zip or base URL of its pictures")
    ] = None,
    map: Annotated[str | None, typer.Option("--map", metavar="FILE.toml", help="Its column map")] = None,
    serve: Annotated[
        bool | None,
        typer.Option("--serve/--no-serve", help="Serve on afterwards (default: in a terminal)"),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sample catalogue, graph, encoder, vectors, and searches with their reasons; or the same on your own catalogue.

    What is done already is not done again.

    Example: `skugraph demo --data items.csv --images pictures.zip --map shop.toml`
    """
    from api import demo as tour_of
    from api.client import ask_instances, ask_search
    from api.server import address
    from kg.stores import open_stores

    serve = sys.stdout.isatty() and not as_json if serve is None else serve
    configured = open_settings(home)
    # Without an audience any free port will do, so that a demo does not fail because the port is taken.
    settings = configured if serve else configured.model_copy(update={"api_port": 0})
    tour = tour_of.Tour(lambda line: None if as_json else say(line), lambda: progress(quiet=as_json))
    searches, first_result_s = [], 0.0
    if data is None:
        catalogue = tour_of.sample(settings, tour)
    else:
        columns, shown = column_map(data, map)
        tour.tell(shown)
        catalogue = tour_of.Catalogue(data, images, columns)
    with tour_of.served(settings) as served, open_stores(settings) as stores:
        tour_of.prepare(stores, catalogue, tour)
        for example in tour_of.search_examples(stores, catalogue):
            reply = ask_search(settings, example.request)
            first_result_s = first_result_s or round(tour.seconds(), 1)
            found = reply.model_dump(mode="json")
            searches.append({"title": example.title, "command": example.command, "reply": found})
            if not as_json:
                say(f"\n{example.title}: {example.command}", style="bold cyan")
                print_reply(reply)
        inside: dict[str, Any] = {}
        if shelf := tour_of.instances_example(stores, catalogue):
            products = ask_instances(settings, shelf.request)
            inside = {"title": shelf.title, "command": shelf.command, "reply": products.model_dump(mode="json")}
            if not as_json:
                say(f"\n{shelf.title}: {shelf.command}", style="bold cyan")
                print_instances(products)

        def page() -> None:
            say(f"\nfirst result after {first_result_s:.1f} s")
            if not served.ours:
                say(f"web page: {served.url}")
            elif serve:
                say(f"web page: {served.url} (Ctrl-C stops)")
            else:
                later = address(configured.api_host, configured.api_port)
                say(f"web page: `skugraph up --home {settings.home}` serves it at {later}")

        document = {"steps": tour.steps, "first_result_s": first_result_s, "searches": searches}
        document |= {"instances": inside} if inside else {}
        emit(document | ({"url": served.url} if serve or not served.ours else {}), as_json, page)
        if serve:
            with suppress(KeyboardInterrupt):
                served.wait()
