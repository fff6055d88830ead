"""Cypher from users: read-only, capped in rows and time.

Three guards, each enough for what it sees: the words of the statement (writing clauses, procedures and functions that
are not on the list, LOAD CSV); the plan, where the server tells truly whether it writes; and the server's own refusal
(a read-only user, or READ access mode).
"""

from __future__ import annotations

import base64
import contextvars
import math
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString, cast

import neo4j
from neo4j.exceptions import Neo4jError
from neo4j.graph import Node, Path, Relationship
from neo4j.spatial import Point
from neo4j.time import Date, DateTime, Duration, Time

from kg.errors import BadQuery, SkugraphError
from kg.graph.driver import Graph, down
from kg.graph.embedded import terminate
from kg.tracing import span

__all__ = ["Answer", "ask", "check"]

GRACE_S = 2.0  # how long after its time the server may take to end a query

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\r\n]*|/\*.*?\*/)
      | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<quoted>`(?:[^`]|``)*`)
      | (?P<word>[^\W\d]\w*)
      | (?P<number>\d[\w]*\.?\w*)
      | (?P<sign>[^\\'"`\w])""",
    re.VERBOSE | re.DOTALL,
)
_FIRST = frozenset(("MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN", "CALL"))
_WRITES = frozenset(
    ("CREATE", "MERGE", "SET", "DELETE", "DETACH", "NODETACH", "REMOVE", "DROP", "ALTER", "FOREACH", "INSERT", "LOAD")
)
_PROCEDURES = frozenset(
    (
        "db.index.fulltext.querynodes",
        "db.index.fulltext.queryrelationships",
        "db.labels",
        "db.propertykeys",
        "db.relationshiptypes",
        "db.schema.nodetypeproperties",
        "db.schema.reltypeproperties",
        "db.schema.visualization",
        "dbms.components",
    )
)
_NAMESPACES = frozenset(
    ("date", "datetime", "duration", "localdatetime", "localtime", "point", "time", "vector.similarity")
)


@dataclass(frozen=True)
class Answer:
    """Rows of a query, each as long as `columns`, of values that JSON knows.

    Attributes:
        columns: names in order; the embedded engine tells none where there are no rows.
        truncated: there were more rows than asked for.
    """

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool


def ask(
    graph: Graph, cypher: str, params: Mapping[str, Any] | None = None, *, max_rows: int = 1000, timeout_s: float = 10
) -> Answer:
    """Run a user's query.

    Args:
        graph: the store.
        cypher: one statement that only reads.
        params: its parameters.
        max_rows: most rows of the answer.
        timeout_s: longest run, in seconds.

    Raises:
        BadQuery: it writes, calls what is not on the list, does not parse, fails, or runs too long.
        StoreDown: the store does not answer.
    """
    check(cypher)
    text, mark = cypher.rstrip().removesuffix(";"), f"skugraph {secrets.token_hex(8)}"
    if graph.at.http:  # the embedded engine has no time limit for one query: it is found by its mark and ended
        text = f"{text}\n/* {mark} */"
    result: list[Answer] = []
    failure: list[Exception] = []

    def work() -> None:
        try:
            result.append(_run(graph, text, dict(params or {}), max_rows, timeout_s))
        except Exception as error:  # carried over to the caller's thread, below
            failure.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="ask", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive() and graph.at.http:
        terminate(graph.at, mark)
    thread.join(GRACE_S)
    if result:
        return result[0]
    if failure and not _timed_out(failure[0]):
        if isinstance(failure[0], SkugraphError):
            raise failure[0]
        message = failure[0].message if isinstance(failure[0], Neo4jError) else str(failure[0])
        raise BadQuery(f"the query failed: {message}") from failure[0]
    raise BadQuery(f"the query ran longer than {timeout_s:g} s", hint="narrow it down, or ask for less")


def check(cypher: str) -> None:
    """Refuse by its words a statement that could do more than read.

    Raises:
        BadQuery: names the word.
    """
    if "\\u" in cypher:
        raise BadQuery("\\u escapes are not allowed: Neo4j reads them before anything else", hint="write the character")
    tokens = list(_tokens(cypher))
    if not tokens or tokens[0].upper() not in _FIRST:
        first = tokens[0] if tokens else ""
        raise BadQuery(f"the query begins with {first!r}; a query that reads begins with {', '.join(sorted(_FIRST))}")
    for i, token in enumerate(tokens):
        before = tokens[i - 1] if i else ""
        if token == ";" and i < len(tokens) - 1:
            raise BadQuery("there is text after `;`: one statement a query")
        if before in (".", ":", "$"):
            continue  # a property, label, key's value or parameter of that name
        if token.upper() in _WRITES:
            raise BadQuery(
                f"{token.upper()} is not allowed: the query may only read", hint="quote names with backticks"
            )
        name = _dotted(tokens, i + 1 if token.upper() == "CALL" else i)
        if token.upper() == "CALL" and name and name.lower() not in _PROCEDURES:
            raise BadQuery(f"procedure {name} is not on the list", hint=f"allowed: {', '.join(sorted(_PROCEDURES))}")
        if token.upper() != "CALL" and before.upper() != "CALL" and "." in name:
            namespace = name.rpartition(".")[0].lower()
            if tokens[i + 2 * name.count(".") + 1 :][:1] == ["("] and namespace not in _NAMESPACES:
                raise BadQuery(f"function {name} is not on the list", hint=f"allowed: {', '.join(sorted(_NAMESPACES))}")


def _tokens(cypher: str) -> Iterator[str]:
    """Words, signs and names; strings become `''`, so that nothing in them counts."""
    position = 0
    while position < len(cypher):
        match = _TOKEN.match(cypher, position)
        if match is None:
            raise BadQuery(f"unreadable from character {position}: {cypher[position : position + 20]!r}")
        position = match.end()
        if match.lastgroup == "text":
            yield "''"
        elif match.lastgroup != "skip":
            yield match.group()


def _dotted(tokens: list[str], start: int) -> str:
    """The name `a.b.c` that begins there, without backticks; empty where none begins."""
    parts = []
    for i in range(start, len(tokens), 2):
        if not (tokens[i][0] in "`_" or tokens[i][0].isalpha()):
            break
        parts.append(tokens[i].strip("`"))
        if tokens[i + 1 : i + 2] != ["."]:
            break
    return ".".join(parts)


def _run(graph: Graph, cypher: str, params: dict[str, Any], max_rows: int, timeout_s: float) -> Answer:
    @neo4j.unit_of_work(timeout=timeout_s)
    def plan(transaction: neo4j.ManagedTransaction) -> str | None:
        return transaction.run(cast(LiteralString, f"EXPLAIN {cypher}"), params).consume().query_type

    @neo4j.unit_of_work(timeout=timeout_s)
    def read(transaction: neo4j.ManagedTransaction) -> Answer:
        result = transaction.run(cast(LiteralString, cypher), params)
        records = [record.values() for record, _ in zip(result, range(max_rows + 1), strict=False)]
        rows = [[_plain(value) for value in values] for values in records[:max_rows]]
        return Answer(list(result.keys()), rows, len(records) > max_rows)

    session = graph.reader.session(
        database=graph.at.database, default_access_mode=neo4j.READ_ACCESS, fetch_size=min(max_rows + 1, 1000)
    )
    with span("graph cypher", **{"db.system.name": graph.engine}), down(graph.at), session:
        # The embedded engine calls every plan a writing one; there the read-only user stands guard.
        if not graph.at.http and session.execute_read(plan) != "r":
            raise BadQuery("the query's plan writes: the query may only read")
        return session.execute_read(read)


def _timed_out(error: Exception) -> bool:
    code = (error.code or "") if isinstance(error, Neo4jError) else ""
    return "TimedOut" in code or "Terminated" in code


def _plain(value: Any) -> Any:
    """A value that JSON knows: nodes and relationships become objects, dates and durations ISO 8601 text."""
    if isinstance(value, Node):
        return {"labels": sorted(value.labels), "properties": _plain(dict(value))}
    if isinstance(value, Relationship):
        return {"type": value.type, "properties": _plain(dict(value))}
    if isinstance(value, Path):
        return {"nodes": _plain(list(value.nodes)), "relationships": _plain(list(value.relationships))}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Date | DateTime | Duration | Time):
        return value.iso_format()
    if isinstance(value, Point):
        return {"srid": value.srid, "coordinates": list(value)}
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
