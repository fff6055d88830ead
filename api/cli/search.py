"""Asking: search, cypher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.asking import (
    BrandOption,
    CategoryOption,
    CypherOption,
    EntityOption,
    FilterOption,
    GraphOption,
    ImageOption,
    MaxPriceOption,
    MinPriceOption,
    MinWeightOption,
    NearOption,
    SellerOption,
    filters_of,
    given,
    print_hit,
    read_image,
)
from api.cli.batch import run_batch
from api.cli.common import HomeOption, JsonOption, emit, open_settings, say, table

__all__ = ["cypher", "search"]

Many = list[str] | None
GivenOption = Annotated[
    Many,
    typer.Option(
        "--given",
        metavar="TYPE:VALUE",
        help="Known of the text beside its words (`brand:diesel`), for an encoder that takes entities; no filter",
    ),
]
StepsOption = Annotated[
    int | None, typer.Option("--hops", help="How far from --near or from what --graph finds, in edges (default 1)")
]

BatchOption = Annotated[
    Path | None,
    typer.Option("--batch", metavar="FILE", help="Searches, one JSON document or text in quotes a line; alone"),
]

DiversityOption = Annotated[
    float | None, typer.Option("--diversity", help="0 to 1: the less hits look like those above them (default 0)")
]
GroupOption = Annotated[
    str | None, typer.Option("--group", metavar="offers", help="One listing, the best, of each very same product")
]


def search(
    text: Annotated[str, typer.Argument(help="What it says")] = "",
    known: GivenOption = None,
    image: ImageOption = None,
    like: Annotated[str | None, typer.Option("--like", metavar="PRODUCT_ID", help="An example product")] = None,
    brand: BrandOption = None,
    category: CategoryOption = None,
    entity: EntityOption = None,
    near: NearOption = None,
    graph: GraphOption = None,
    hops: StepsOption = None,
    min_weight: MinWeightOption = None,
    min_price: MinPriceOption = None,
    max_price: MaxPriceOption = None,
    seller: SellerOption = None,
    cypher: CypherOption = None,
    filter: FilterOption = None,
    k: Annotated[int, typer.Option("-k", help="Products wanted")] = 10,
    explain: Annotated[bool, typer.Option("--explain", help="Also say how each was found")] = False,
    diversity: DiversityOption = None,
    group: GroupOption = None,
    batch: BatchOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search by words, picture, example product and place in the graph, in any combination.

    Example: `skugraph search "glass bottle" --image photo.jpg --near colour:green --max-price 20`

    With an encoder that takes entities: `skugraph search "diesel slim jeans" --given brand:diesel`

    With the entity graph: `skugraph search "green glass bottle" --graph widen --hops 1 --min-weight 0.5 --explain`

    Filters joined by all, any and not: `skugraph search soap --filter '{"not": {"brand": "Aurora", "max_price": 5}}'`

    Many at once: `skugraph search --batch queries.jsonl --json`, each line such as `{"text": "soap", "k": 3}`
    """
    from api.client import ask_search
    from api.models import SearchRequest

    if batch is not None:
        raise typer.Exit(
            1 if run_batch(open_settings(home, filled=True), batch, explain=explain, as_json=as_json) else 0
        )
    steps = {"hops": hops, "min_weight": min_weight}
    around = steps if near or graph is None else {}
    filters = {
        "brand": brand, "category": category, "entity": entity, "near": near, **around,
        "min_price": min_price, "max_price": max_price, "seller": seller, "cypher": cypher,
    }  # fmt: skip
    fields: dict[str, Any] = {
        "text": text,
        "like": like,
        "k": k,
        "explain": explain,
        "filters": filters_of(filters, filter),
    }
    fields |= given({"diversity": diversity, "group": group})
    if known:
        fields["entities"] = [_entity(one) for one in known]
    if graph is not None:
        fields["graph"] = given({"mode": graph, **steps})
    if image is not None:
        fields["image"] = read_image(image)
    request = SearchRequest.model_validate(fields)
    reply = ask_search(open_settings(home, filled=True), request)
    emit(reply.model_dump(mode="json"), as_json, lambda: print_reply(reply, explain=explain))


def print_reply(reply: Any, *, explain: bool = False) -> None:
    """A search reply for people."""
    for hit in reply.hits:
        print_hit(hit, explain=explain)
    if explain and reply.entities:
        found = [f"{one.key} ({one.score:.2f} {one.how})" for one in reply.entities]
        say(f"the text means {', '.join(found)}", style="dim")
    for note in reply.notes:
        say(f"note: {note}", style="yellow")
    total = reply.timings_ms.get("total", sum(reply.timings_ms.values()))
    exact = ", exact" if reply.exact else ""
    say(f"{reply.returned} of {reply.requested} wanted, plan {reply.plan}{exact}, {total:.0f} ms", style="dim")
    if reply.explanation:
        say(f"plan: {reply.explanation.why}", style="dim")
        print_costs(reply)


def print_costs(reply: Any) -> None:
    """What each plan would cost, and what the one taken did."""
    rows = [
        (
            one.plan,
            one.estimated_ms,
            reply.explanation.actual_ms if one.plan == reply.plan else None,
            "taken" if one.plan == reply.plan else one.refused,
        )
        for one in reply.explanation.alternatives
    ]
    if rows:
        table(("plan", "estimated ms", "actual ms", ""), rows)


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


def _entity(text: str) -> dict[str, str]:
    from kg.errors import BadInput

    kind, colon, value = text.partition(":")
    if not (kind.strip() and colon and value.strip()):
        raise BadInput(f"--given {text!r}: give it as type:value, such as brand:diesel")
    return {"type": kind, "value": value}


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
