"""Asking: search, cypher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings, say, table

__all__ = ["cypher", "search"]

Many = list[str] | None


def search(
    text: Annotated[str, typer.Argument(help="What it says")] = "",
    image: Annotated[Path | None, typer.Option("--image", metavar="FILE", help="What it looks like")] = None,
    like: Annotated[str | None, typer.Option("--like", metavar="PRODUCT_ID", help="An example product")] = None,
    brand: Annotated[Many, typer.Option("--brand", help="Made by it; again for any of several")] = None,
    category: Annotated[Many, typer.Option("--category", help="In it or below")] = None,
    entity: Annotated[Many, typer.Option("--entity", help="Linked to it: `colour:green`, or plain text")] = None,
    near: Annotated[Many, typer.Option("--near", metavar="ENTITY", help="Linked to it or to a similar one")] = None,
    hops: Annotated[int | None, typer.Option("--hops", help="How far from --near, in edges (default 1)")] = None,
    min_weight: Annotated[float | None, typer.Option("--min-weight", help="Smallest weight of those edges")] = None,
    min_price: Annotated[float | None, typer.Option("--min-price", help="Lowest price")] = None,
    max_price: Annotated[float | None, typer.Option("--max-price", help="Highest price")] = None,
    seller: Annotated[Many, typer.Option("--seller", help="Offered by it")] = None,
    cypher: Annotated[
        str | None, typer.Option("--cypher", metavar="QUERY", help="Read-only Cypher that returns product ids")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Products wanted")] = 10,
    explain: Annotated[bool, typer.Option("--explain", help="Also say how each was found")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search by words, picture, example product and place in the graph, in any combination.

    Example: `skugraph search "glass bottle" --image photo.jpg --near colour:green --max-price 20`
    """
    from api.client import ask_search
    from api.models import SearchRequest
    from kg.errors import BadInput

    given = {
        "brand": brand, "category": category, "entity": entity, "near": near, "hops": hops, "min_weight": min_weight,
        "min_price": min_price, "max_price": max_price, "seller": seller, "cypher": cypher,
    }  # fmt: skip
    fields: dict[str, Any] = {"text": text, "like": like, "k": k, "explain": explain}
    fields["filters"] = {name: value for name, value in given.items() if value not in (None, [])}
    if image is not None:
        try:
            fields["image"] = image.read_bytes()
        except OSError as error:
            raise BadInput(f"--image {image}: {error.strerror}") from error
    request = SearchRequest.model_validate(fields)
    reply = ask_search(open_settings(home, filled=True), request)
    emit(reply.model_dump(mode="json"), as_json, lambda: print_reply(reply, explain=explain))


def print_reply(reply: Any, *, explain: bool = False) -> None:
    """A search reply for people."""
    for hit in reply.hits:
        product, offer = hit.product, hit.offer
        price = "" if product.price is None else f"  {product.price:.2f} {product.currency}".rstrip()
        say(f"{hit.rank:3}. {product.title}{price}", style="bold")
        facts = (product.id, product.brand, " > ".join(product.category), product.seller)
        say(f"     {' · '.join(filter(None, facts))}")
        if offer and offer.product_id != product.id:
            say(f"     best offer {offer.price:.2f} {offer.currency} at {offer.seller} ({offer.product_id})")
        say(f"     {hit.reason}", style="dim")
        if explain:
            for step in hit.path:
                weight = "" if step.weight is None else f" ({step.weight:.2f})"
                say(f"     {step.source} -{step.relation}-> {step.target}{weight}", style="dim")
            for name, rank in hit.ranks.items():
                say(f"     {name}: rank {rank}, score {hit.scores[name]:.4f}", style="dim")
    for note in reply.notes:
        say(f"note: {note}", style="yellow")
    total = reply.timings_ms.get("total", sum(reply.timings_ms.values()))
    exact = ", exact" if reply.exact else ""
    say(f"{reply.returned} of {reply.requested} wanted, plan {reply.plan}{exact}, {total:.0f} ms", style="dim")
    if reply.explanation:
        say(f"plan: {reply.explanation.why}", style="dim")


def cypher(
    query: Annotated[str, typer.Argument(help="One statement that only reads")],
    param: Annotated[Many, typer.Option("--param", metavar="K=V", help="Value of $K: JSON, or else text")] = None,
    max_rows: Annotated[int | None, typer.Option("--max-rows", help="Setting cypher_max_rows")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run Cypher that only reads; what writes is refused.

    Example: `skugraph cypher "MATCH (p:Product)-[:MADE_BY]->(b) RETURN b.text, count(p) ORDER BY count(p) DESC"`
    """
    from kg.graph.readonly import ask
    from kg.stores import open_stores

    settings = open_settings(home, filled=True, cypher_max_rows=max_rows)
    params = dict(_param(text) for text in param or [])
    with open_stores(settings) as stores:
        answer = ask(
            stores.graph,
            query,
            params,
            max_rows=settings.cypher_max_rows,
            timeout_s=settings.cypher_timeout_s,
        )
    document = {"columns": answer.columns, "rows": answer.rows, "truncated": answer.truncated}

    def page() -> None:
        table(answer.columns, answer.rows)
        if answer.truncated:
            say(f"only the first {len(answer.rows)} rows; --max-rows asks for more", style="yellow")

    emit(document, as_json, page)


def _param(text: str) -> tuple[str, Any]:
    import json

    from kg.errors import BadInput

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise BadInput(f"--param {text!r}: give it as name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
