"""The embedded graph: ArcadeDB as a loopback-only child process that speaks Bolt. Only this module knows it.

What differs from Neo4j is dealt with here: schema statements go over its HTTP as SQL, the read-only user is made
through its server commands, message sizes are raised above the 16 MB at which it would hang.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import signal
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import neo4j

from kg.errors import BadSetting, MigrationError, StoreDown
from kg.graph.cypher.core import PING
from kg.graph.driver import GraphAddress, connect
from kg.home import Home, write_private

__all__ = ["DATABASE", "EmbeddedGraph", "run_sql", "terminate"]

DATABASE = "neo4j"
READER = "reader"
MESSAGE_BYTES = 256 << 20
QUERY_S = 3600  # the engine has one limit for all queries, and a stream that is drained slowly is one, too

# What the container may take, of the second and of the first version of control groups.
CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

_OPENS = ("java.util.concurrent.atomic", "java.nio.channels.spi", "java.lang")
_RECORDS = ("createRecord", "readRecord", "updateRecord", "deleteRecord")


@dataclass(frozen=True)
class EmbeddedGraph:
    """How to start the engine on a home folder, and where it then answers.

    Args:
        home: its `graph` folder holds the database, the passwords and the server's configuration.
        bolt_port, http_port: free loopback ports.
        heap: most that Java may take, as `1g`; `auto`: a quarter of what the machine or the container has, at least
            1 GB. The engine keeps pages there: of a graph that does not fit, some are read from disk in each search.
    """

    home: Home
    bolt_port: int
    http_port: int
    heap: str = "auto"

    name = "graph"
    stop_signal = signal.SIGTERM

    @property
    def at(self) -> GraphAddress:
        folder = self.home.graph
        return GraphAddress(
            uri=f"bolt://127.0.0.1:{self.bolt_port}",
            user="root",
            password=self.home.secret(folder / "root.password"),
            database=DATABASE,
            reader_user=READER,
            reader_password=self.home.secret(folder / "reader.password"),
            http=f"http://127.0.0.1:{self.http_port}",
        )

    @property
    def uri(self) -> str:
        return self.at.uri

    @property
    def ports(self) -> dict[str, int]:
        return {"bolt_port": self.bolt_port, "http_port": self.http_port}

    @property
    def log(self) -> Path:
        return self.home.log / "graph.log"

    def command(self) -> list[str]:
        """The command line; writes the configuration files that it needs.

        Raises:
            BadSetting: the engine's package is not installed.
        """
        # find_spec does not import the package: no JVM in this process.
        spec = importlib.util.find_spec("arcadedb_embedded")
        if spec is None or spec.origin is None:
            raise BadSetting(
                "the embedded graph is not installed", hint='pip install "skugraph[embedded]", or set graph_uri'
            )
        package, folder = Path(spec.origin).parent, self.home.graph
        self.home.secret(folder / "root.password")
        write_private(folder / "config/server-groups.json", json.dumps(_groups()))
        options: dict[str, object] = {
            "server.rootPath": folder,
            "server.logsDirectory": self.home.log / "graph",
            "server.rootPasswordPath": folder / "root.password",  # never on the command line
            "server.mode": "development",  # "production" masks every error message
            "server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
            "server.httpIncomingHost": "127.0.0.1",
            "server.httpIncomingPort": self.http_port,
            "bolt.host": "127.0.0.1",
            "bolt.port": self.bolt_port,
            "bolt.defaultDatabase": DATABASE,
            "bolt.maxMessageSize": MESSAGE_BYTES,
            "bolt.packstream.maxValueLength": MESSAGE_BYTES,
            "bolt.packstream.maxElements": 10_000_000,
            "txWalFlush": 1,  # fdatasync at commit: what is committed survives kill -9 and most power cuts
            "command.timeout": QUERY_S * 1000,
        }
        if not (folder / "databases" / DATABASE).exists():
            options["server.defaultDatabases"] = f"{DATABASE}[root]"
        return [
            str(package / "jre/bin/java"),
            *_heap(self.heap),
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            "-Dfile.encoding=UTF8",
            "--add-exports=java.management/sun.management=ALL-UNNAMED",
            *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENS),
            "--add-modules=jdk.incubator.vector",
            "--enable-native-access=ALL-UNNAMED",
            *(f"-Darcadedb.{name}={value}" for name, value in options.items()),
            "-cp",
            f"{package}/jars/*",
            "com.arcadedb.server.ArcadeDBServer",
        ]

    def answers(self) -> bool:
        """Whether a query succeeds (the port opens before the database does); the first time makes the reader."""
        at = self.at
        try:
            with connect(at, (at.user, at.password)) as driver, driver.session(database=at.database) as session:
                session.run(PING).consume()
            users = (self.home.graph / "config/server-users.jsonl").read_text(encoding="utf-8")
            if not any(json.loads(line)["name"] == READER for line in users.splitlines()):
                user = {"name": READER, "password": at.reader_password, "databases": {DATABASE: [READER]}}
                _post(at, "/api/v1/server", {"command": f"create user {json.dumps(user)}"})
        except (neo4j.exceptions.DriverError, neo4j.exceptions.Neo4jError, OSError):
            return False
        return True


def run_sql(at: GraphAddress, statement: str) -> None:
    """Run one schema statement in the engine's SQL.

    Raises:
        MigrationError: the engine refuses the statement.
        StoreDown: it does not answer.
    """
    try:
        _post(at, f"/api/v1/command/{at.database}", {"language": "sql", "command": statement})
    except urllib.error.HTTPError as error:
        raise MigrationError(f"{statement}: {error.read().decode(errors='replace')}") from error
    except OSError as error:
        raise StoreDown("graph", at.http, str(error)) from error


def terminate(at: GraphAddress, mark: str) -> None:
    """End the running queries whose text holds `mark`. Loops inside one expression (`reduce`) do not heed it.

    Raises:
        StoreDown: the server does not answer.
    """
    try:
        for query in _post(at, "/api/v1/server", {"command": "list queries"})["result"]:
            if mark in query["text"]:
                _post(at, "/api/v1/server", {"command": f"terminate query {query['id']}"})
    except urllib.error.HTTPError as error:
        if error.code != 404:  # that query is over
            raise
    except OSError as error:
        raise StoreDown("graph", at.http, str(error)) from error


def _heap(asked: str) -> list[str]:
    """What the command line says of it. A quarter is what Java takes by itself, whoever limits the process."""
    if asked != "auto":
        return [f"-Xmx{asked}"]
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in CGROUP:
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            sizes.append(int(limit.read_text(encoding="ascii")))
    return ["-Xmx1g"] if min(sizes) < 4 << 30 else []


def _groups() -> dict[str, Any]:
    """Roles: the reader reads records and nothing else. (A resultSetLimit would cut scans short, not only results.)"""

    def group(access: tuple[str, ...], records: tuple[str, ...]) -> dict[str, Any]:
        return {"resultSetLimit": -1, "readTimeout": -1, "access": access, "types": {"*": {"access": records}}}

    return {
        "version": 2,
        "databases": {
            "*": {
                "groups": {
                    "admin": group(("updateSecurity", "updateSchema", "updateDatabaseSettings"), _RECORDS),
                    READER: group((), ("readRecord",)),
                    "*": group((), ()),
                }
            }
        },
    }


def _post(at: GraphAddress, path: str, body: dict[str, Any]) -> Any:
    token = base64.b64encode(f"{at.user}:{at.password}".encode()).decode()
    request = urllib.request.Request(
        at.http + path,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Basic {token}"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)
