"""One graph, whichever engine: managed transactions with retries, batched writes, streamed reads."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, LiteralString, TypeVar, cast

import neo4j
from neo4j.exceptions import (
    AuthError,
    ClientError,
    ConfigurationError,
    ConstraintError,
    DriverError,
    IncompleteCommit,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
)

from kg.errors import StoreDown
from kg.graph.cypher.core import PING
from kg.tracing import span

__all__ = ["Graph", "GraphAddress", "Tx", "again", "connect", "down"]

# Every failure is raised; the driver would also print each attempt of a retry.
logging.getLogger("neo4j").setLevel(logging.CRITICAL)

T = TypeVar("T")
Row = dict[str, Any]

VANISHED = "Neo.ClientError.Statement.EntityNotFound"  # another transaction removed what this one was reading
NO_DATABASE = "Neo.ClientError.Database.DatabaseNotFound"
HEAL_S = 30.0  # how long a transaction is retried while the server comes back
UNREADY = "not expected in state: AUTHENTICATION"  # an embedded server that has just been started, now and then
# Of concurrent MERGEs of one new key the loser tries again; so do a commit whose answer was lost, and what passes.
TRIES = 8


@dataclass(frozen=True)
class GraphAddress:
    """Where a graph answers and who asks.

    Attributes:
        uri: bolt:// or neo4j:// address.
        http: base URL for schema statements in the embedded engine's own language; empty on Neo4j.
    """

    uri: str
    user: str
    password: str
    database: str
    reader_user: str = ""
    reader_password: str = ""
    http: str = ""

    def __repr__(self) -> str:
        return f"GraphAddress({self.uri!r}, user={self.user!r}, database={self.database!r})"


class Tx:
    """One open transaction."""

    def __init__(self, transaction: neo4j.ManagedTransaction) -> None:
        self._transaction = transaction

    def run(self, cypher: str, /, **params: Any) -> list[Row]:
        return list(_rows(self._transaction.run(cast(LiteralString, cypher), params)))


class Graph:
    """A graph store. Threads may share it; processes may not.

    Args:
        at: address and credentials.
        timeout_s: longest run of one transaction on Neo4j, in seconds (the embedded engine keeps its own limit).
        batch_rows: rows in one transaction of `write_rows`.

    Raises:
        StoreDown: nothing answers at the address, or it refuses the credentials.
    """

    def __init__(self, at: GraphAddress, *, timeout_s: float = 60, batch_rows: int = 1000) -> None:
        self.at, self.timeout_s, self.batch_rows = at, timeout_s, batch_rows
        self._driver = connect(at, (at.user, at.password))
        try:
            self.ping()
            agent = self._driver.get_server_info().agent
        except BaseException:
            self._driver.close()
            raise
        # The embedded engine introduces itself as "Neo4j/5.26.0 compatible (ArcadeDB 26.10.2)".
        name, _, version = agent.removesuffix(")").rpartition("(")[2].replace("/", " ").partition(" ")
        self.engine, self.version = name.lower(), version

    @property
    def address(self) -> str:
        return self.at.uri

    def ping(self) -> None:
        """Ask for a sign of life, without retries.

        Raises:
            StoreDown: there is none.
        """
        with down(self.at), self._driver.session(database=self.at.database) as session:
            session.run(PING).consume()

    def read(self, cypher: str, /, **params: Any) -> list[Row]:
        """All rows of a query that changes nothing.

        It is sent by itself first: one round trip where a managed transaction takes three, and a search reads several
        times. Only what may be tried again goes through one of these.

        Raises:
            StoreDown: the server does not answer, also not after `HEAL_S` seconds.
        """
        query = neo4j.Query(cast(LiteralString, cypher), timeout=self.timeout_s)
        try:
            with (
                self._span("r", cypher),
                self._driver.session(database=self.at.database, default_access_mode=neo4j.READ_ACCESS) as session,
            ):
                return list(_rows(session.run(query, params)))
        except (DriverError, Neo4jError) as error:
            if not (error.is_retryable() or _passing(error)):
                with down(self.at):
                    raise
        return self._managed(lambda tx: tx.run(cypher, **params), "r", cypher)

    def write(self, cypher: str, /, **params: Any) -> list[Row]:
        """Rows of one statement in a transaction of its own; retried, so it must be idempotent.

        Raises:
            StoreDown: the server does not answer, also not after `HEAL_S` seconds.
            neo4j.exceptions.ConstraintError: a key is taken, also after retries.
        """
        return self._managed(lambda tx: tx.run(cypher, **params), "w", cypher)

    def transaction(self, work: Callable[[Tx], T]) -> T:
        """What `work` returns; its statements happen together or not at all.

        `work` may be called again: it must have no other effects.

        Raises:
            StoreDown, neo4j.exceptions.ConstraintError: as `write`.
        """
        return self._managed(work, "w")

    def write_rows(self, cypher: str, rows: Iterable[Row], /, *, key: str = "id", **params: Any) -> int:
        """`UNWIND $rows …` over any number of rows in batches; returns how many were sent.

        Rows are sorted by `key` inside a batch, so that concurrent writers take their locks in one order.
        """
        source, sent = iter(rows), 0
        while batch := list(islice(source, self.batch_rows)):
            batch.sort(key=lambda row: row[key])
            self.write(cypher, rows=batch, **params)
            sent += len(batch)
        return sent

    def stream(self, cypher: str, /, **params: Any) -> Iterator[Row]:
        """Rows one by one in flat memory; not retried once the first row is out (see `again`), and without a time
        limit."""
        with (
            down(self.at),
            self._driver.session(
                database=self.at.database, default_access_mode=neo4j.READ_ACCESS, fetch_size=1000
            ) as session,
        ):
            yield from _rows(session.run(cast(LiteralString, cypher), params))

    @cached_property
    def reader(self) -> neo4j.Driver:
        """For queries that users write: the read-only user where there is one."""
        at = self.at
        auth = (at.reader_user, at.reader_password) if at.reader_user else (at.user, at.password)
        return connect(at, auth, retry_s=1)

    def close(self) -> None:
        self._driver.close()
        if "reader" in vars(self):
            self.reader.close()

    def _managed(self, work: Callable[[Tx], T], mode: str, cypher: str = "") -> T:
        @neo4j.unit_of_work(timeout=self.timeout_s)
        def unit(transaction: neo4j.ManagedTransaction) -> T:
            return work(Tx(transaction))

        with self._span(mode, cypher), down(self.at):
            for left in reversed(range(TRIES)):
                try:
                    with self._driver.session(database=self.at.database) as session:
                        return session.execute_read(unit) if mode == "r" else session.execute_write(unit)
                except (ClientError, IncompleteCommit) as error:
                    passes = isinstance(error, (ConstraintError, IncompleteCommit)) or _passing(error)
                    if not (left and passes):
                        raise
                    time.sleep(random.uniform(0.01, 0.1) * (TRIES - left))
        raise AssertionError("unreachable")

    def _span(self, mode: str, cypher: str) -> contextlib.AbstractContextManager[None]:
        what = {"r": "graph read", "w": "graph write"}[mode]
        text = {"db.query.text": cypher.strip()} if cypher else {}  # values are parameters, so it gives nothing away
        return span(what, **{"db.system.name": self.engine, **text})


def again(work: Callable[[], T]) -> T:
    """What `work` makes of a stream, begun anew where that failed of what passes."""
    for left in reversed(range(TRIES)):
        try:
            return work()
        except ClientError as error:
            if not (left and _passing(error)):
                raise
            time.sleep(random.uniform(0.01, 0.1))
    raise AssertionError("unreachable")


def _passing(error: Exception) -> bool:
    """Whether the same may well succeed in a moment, though the driver takes it for a mistake of ours."""
    return isinstance(error, ClientError) and (error.code == VANISHED or UNREADY in (error.message or ""))


def _rows(result: neo4j.Result) -> Iterator[Row]:
    keys = result.keys()
    for record in result:  # `dict(record)` would look each value up by its key's place
        yield dict(zip(keys, record, strict=True))


@contextlib.contextmanager
def down(at: GraphAddress) -> Iterator[None]:
    """Say `StoreDown` where the driver says that nobody answers, or that it is not let in."""
    try:
        yield
    except (ServiceUnavailable, SessionExpired) as error:
        raise StoreDown("graph", at.uri, str(error).partition("\n")[0]) from error
    except (AuthError, ConfigurationError) as error:
        hint = "check graph_uri, graph_user and graph_password in the settings"
        raise StoreDown("graph", at.uri, str(error), hint=hint) from error
    except ClientError as error:
        if error.code != NO_DATABASE:
            raise
        why = f"it has no database {at.database!r}"
        raise StoreDown("graph", at.uri, why, hint="check graph_database in the settings") from error


def connect(at: GraphAddress, auth: tuple[str, str], *, retry_s: float = HEAL_S) -> neo4j.Driver:
    """A driver without the server's hints; its transactions are retried for `retry_s` seconds."""
    try:
        return neo4j.GraphDatabase.driver(
            at.uri,
            auth=auth if auth[0] else None,
            connection_timeout=10,
            connection_acquisition_timeout=30,
            max_transaction_retry_time=retry_s,
            notifications_min_severity="OFF",
            liveness_check_timeout=30,  # a server that was restarted meanwhile costs no failed query
        )
    except (ValueError, ConfigurationError) as error:
        raise StoreDown("graph", at.uri, str(error), hint="graph_uri is bolt://… or neo4j://…") from error
