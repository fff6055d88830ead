"""A genuine Neo4j server as a child process, from a folder with Neo4j's jars in `lib/` (an unpacked distribution)."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import neo4j
from neo4j.exceptions import ServiceUnavailable

from kg.home import Home
from kg.processes import free_port, spawn, stop, tail

SOURCE = Path(__file__).with_name("Neo4jServer.java")
OPENED = ("java.nio", "java.io", "sun.nio.ch", "java.lang", "java.util.concurrent")
CONFIGURATION = """\
server.default_listen_address=127.0.0.1
server.bolt.enabled=true
server.bolt.listen_address=127.0.0.1:{port}
server.http.enabled=false
server.https.enabled=false
dbms.security.auth_enabled=true
dbms.usage_report.enabled=false
server.memory.pagecache.size=128m
"""


class Neo4jServer:
    """Start with `with`; `uri`, `user` and `password` then open it.

    Args:
        home: folder with `lib/`.
        data: where the database lies; found again by the next server on it.
    """

    user = "neo4j"

    def __init__(self, home: Path, data: Path) -> None:
        self.home, self.data = home, data
        self.password = Home(data).secret(data / "password")
        self.port = free_port()
        self.uri = f"bolt://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float = 240) -> Neo4jServer:
        configuration, log = self.data / "neo4j.conf", self.data / "server.log"
        configuration.write_text(CONFIGURATION.format(port=self.port))
        opens = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
        files = [str(SOURCE), str(self.data), str(configuration)]
        command = [shutil.which("java") or "java", "-Xmx1g", *opens, "-cp", f"{self.home}/lib/*", *files]
        self.process = spawn(command, cwd=self.data, log=log)
        end = time.monotonic() + timeout_s
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"Neo4j did not start: {tail(log, 3000)}")
            time.sleep(0.2)
        return self

    def answers(self) -> bool:
        """Whether a query succeeds; the first time changes the initial password, as an operator would."""
        used = self.data / "password.set"
        auth = (self.user, self.password if used.exists() else "neo4j")
        try:
            with neo4j.GraphDatabase.driver(self.uri, auth=auth, max_transaction_retry_time=0) as driver:
                if used.exists():
                    driver.execute_query("RETURN 1", database_="neo4j")
                    return True
                change = "ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO $new"
                driver.execute_query(change, new=self.password, database_="system")
                used.touch()
        except ServiceUnavailable:
            pass
        return False

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)

    def __enter__(self) -> Neo4jServer:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()
