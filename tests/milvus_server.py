"""A genuine Milvus 2.3.5 server as a child process, from the binary that the `milvus` wheel carries.

    pip install --no-deps --target DIR milvus==2.3.5
    unshare --net sh -c 'ip link set lo up; exec python tests/milvus_server.py DIR DATA'

Its ports listen on every interface, so it refuses to start where an interface other than loopback is up: it runs, with
its clients, in a network namespace of its own.
"""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from types import FrameType


class MilvusServer:
    """Start with `with`; `uri` is where it answers."""

    def __init__(self, wheel: Path, data: Path) -> None:
        outside = sorted(name for _, name in socket.if_nameindex() if name != "lo" and is_up(name))
        if outside:
            raise RuntimeError(f"interfaces {outside} are up: this server belongs in a network namespace of its own")
        sys.path.append(str(wheel))
        from milvus import MilvusServer as Binary
        from milvus import MilvusServerConfig

        self._server = Binary(MilvusServerConfig(data_dir=str(data)), wait_for_started=True)
        self._server.set_base_dir(str(data))

    def __enter__(self) -> MilvusServer:
        self._server.start()
        self.uri = f"http://127.0.0.1:{self._server.listen_port}"
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.stop()


def is_up(interface: str) -> bool:
    return int(Path(f"/sys/class/net/{interface}/flags").read_text(), 16) & 1 == 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} WHEEL_FOLDER DATA_FOLDER")
    with MilvusServer(Path(sys.argv[1]), Path(sys.argv[2])) as server:

        def stop(number: int, frame: FrameType | None) -> None:
            raise SystemExit(0)

        signal.signal(signal.SIGTERM, stop)
        print(server.uri, flush=True)
        signal.pause()
