"""A RabbitMQ server as a child process on loopback, with a port mapper of its own."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from kg.processes import free_port, spawn, stop, tail

CONFIGURATION = """\
listeners.tcp.default = 127.0.0.1:{port}
heartbeat = {heartbeat}
default_user = shop
default_pass = s3cret
log.file.level = info
"""


class RabbitMQServer:
    """Start with `with`; `url` then opens it.

    Args:
        program: `rabbitmq-server` of an installed package (of Debian's: /usr/lib/rabbitmq/bin/rabbitmq-server).
        data: an empty folder; what queues hold stays there.
        heartbeat: seconds between signs of life that the server asks for.
    """

    def __init__(self, program: Path, data: Path, *, heartbeat: int = 60) -> None:
        self.program, self.data = program, data
        self.port, self.mapper_port = free_port(), free_port()
        self.url = f"amqp://shop:s3cret@127.0.0.1:{self.port}//"
        self.log = data / "server.log"
        self.processes: list[subprocess.Popen[bytes]] = []
        (data / "rabbitmq.conf").write_text(CONFIGURATION.format(port=self.port, heartbeat=heartbeat))
        (data / "plugins").write_text("[].\n")

    def start(self, timeout_s: float = 300) -> RabbitMQServer:
        mapper = ["epmd", "-address", "127.0.0.1", "-port", str(self.mapper_port)]
        self.processes = [spawn(mapper, cwd=self.data, log=self.data / "epmd.log")]
        environment = {
            "HOME": str(self.data),  # where Erlang keeps its cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.mapper_port),
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_CONFIG_FILE": str(self.data / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.data / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.data / "queues"),
            "RABBITMQ_LOG_BASE": str(self.data),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        server = spawn([str(self.program)], cwd=self.data, log=self.log, env=environment)
        self.processes.insert(0, server)
        end = time.monotonic() + timeout_s
        while not self.answers():
            if server.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"RabbitMQ did not start: {tail(self.log, 3000)}")
            time.sleep(0.2)
        return self

    def answers(self) -> bool:
        """Whether it speaks AMQP: it closes on a header of another protocol, and says which it wants."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"AMQP\x00\x00\x00\x00")
                return connection.recv(8).startswith(b"AMQP")
        except OSError:
            return False

    def stop(self) -> None:
        for process in self.processes:
            stop(process)
        self.processes = []

    def __enter__(self) -> RabbitMQServer:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()
