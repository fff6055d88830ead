"""The socket that the API listens on."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from api.listening import listen
from kg.settings import load_settings


def test_answers_are_sent_at_once(tmp_path: Path) -> None:
    """Nagle's algorithm is off on the connections that a server on this socket accepts."""
    found = asyncio.Queue[int]()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted: socket.socket = writer.get_extra_info("socket")
        await found.put(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async def ask() -> int:
        with listen(load_settings(home=tmp_path, api_port=0)) as listener:
            async with await asyncio.start_server(answer, sock=listener):
                _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
                try:
                    return await asyncio.wait_for(found.get(), 10)
                finally:
                    writer.close()

    assert asyncio.run(ask()) != 0
