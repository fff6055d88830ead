"""What `skugraph up` makes sure of before it starts or even imports anything: that it may serve, and where."""

from __future__ import annotations

import os
import socket

from kg.errors import BadInput
from kg.home import Home
from kg.settings import Settings

__all__ = ["RUN_NAME", "listen"]

RUN_NAME = "api"  # run/api.json: url, and a key of the owner of the home (mode 0600)


def listen(settings: Settings) -> socket.socket:
    """A listening socket at the address of the settings.

    Raises:
        BadInput: this home is served already, or the port is taken.
    """
    if (running := Home(settings.home).read_run(RUN_NAME)) is not None:
        raise BadInput(f"{settings.home} is served already, at {running['url']} by process {running['pid']}")
    host, port = settings.api_host, settings.api_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, an answer whose head and body are
    # written apart waits for the acknowledgement that the client delays, 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        hint = "another port: --port N, or 0 for any free one"
        raise BadInput(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}", hint=hint) from error
    return listener
