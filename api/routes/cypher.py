"""Read-only Cypher."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.needs import Read, UseBackend
from kg.graph.readonly import ask

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["graph"])

EXAMPLE = "MATCH (p:Product)-[:MADE_BY]->(b:Brand) RETURN b.text AS brand, count(p) AS products ORDER BY products DESC"


class CypherRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=10_000, description="One statement that only reads", examples=[EXAMPLE])
    params: dict[str, Any] = Field(default={}, description="Values of its $parameters")
    max_rows: int | None = Field(default=None, ge=1, description="Fewer rows than the server's limit")


class CypherReply(BaseModel):
    columns: list[str]
    rows: list[list[Any]]
    truncated: bool = Field(description="There were more rows than the limit")


@router.post("/cypher", dependencies=[Read])
def cypher(body: CypherRequest, server: UseBackend) -> CypherReply:
    """Run Cypher that only reads, with a row and a time limit; what writes is refused."""
    limit = server.settings.cypher_max_rows
    answer = ask(
        server.stores.graph,
        body.query,
        body.params,
        max_rows=min(limit, body.max_rows or limit),
        timeout_s=server.settings.cypher_timeout_s,
    )
    return CypherReply(
        columns=list(answer.columns), rows=[list(row) for row in answer.rows], truncated=answer.truncated
    )
