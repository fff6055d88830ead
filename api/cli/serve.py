"""`skugraph up`."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings

__all__ = ["up"]


def up(
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on (setting api_host)")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port; 0 takes a free one (setting api_port)")] = None,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Start a worker process too")] = True,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the stores, a worker, the REST API and the web page; Ctrl-C stops all.

    Prints `ready http://…` on stdout when it serves.

    Example: `skugraph up --home shop --port 8080`
    """
    from api.listening import listen
    from kg.stores import prepare_stores

    settings = open_settings(home, api_host=host, api_port=port)
    with suppress(KeyboardInterrupt), listen(settings) as listener:
        prepare_stores(settings)  # they start while what follows is imported
        from api.server import serving

        with serving(settings, worker=worker, listener=listener) as served:
            emit({"ready": served.url}, as_json, lambda: print(f"ready {served.url}", flush=True))
            served.wait()
