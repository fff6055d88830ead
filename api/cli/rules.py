"""What searches show: rules that pin, bury or exclude products."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings, say, table
from api.cli.generations import ReasonOption, me
from kg.errors import BadInput

__all__ = ["rules"]

rules = typer.Typer(help="Pin, bury or exclude products in searches; with an end, and a trail of who and why.")

RuleArgument = Annotated[str, typer.Argument(metavar="ID", help="As `skugraph rules list` shows it")]


@rules.command("list")
def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every rule, oldest first, those that have expired too.

    Example: `skugraph rules list --json`
    """
    from kg.rules import listing
    from kg.stores import open_stores

    with open_stores(open_settings(home, filled=True)) as stores:
        found = listing(stores.graph)
    now = datetime.now(UTC)
    document = [rule.json() | {"expired": rule.expired(now)} for rule in found]

    def page() -> None:
        head = ("id", "action", "what", "query", "in", "until", "by", "reason")
        table(head, [tuple(_row(row)) for row in document])

    emit(document, as_json, page)


@rules.command("add")
def add(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="pin, bury or exclude")],
    product: Annotated[
        list[str] | None, typer.Option("--product", metavar="ID", help="It is for this product; again for more")
    ] = None,
    filters: Annotated[
        str | None,
        typer.Option("--filter", metavar="JSON", help="Or for what these filters admit, as a search has them"),
    ] = None,
    query: Annotated[str, typer.Option("--query", metavar="TEXT", help="Only where this is the text searched")] = "",
    category: Annotated[
        str, typer.Option("--category", metavar="NAME", help="Only in searches inside this category or below")
    ] = "",
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="ISO time from which it does nothing, such as 2030-01-31"),
    ] = None,
    reason: ReasonOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a rule; the next search keeps it, also that of an API which runs.

    Example: `skugraph rules add pin --product sku-1 --query "green bottle" --until 2030-01-31 --reason "spring sale"`

    Out of sight: `skugraph rules add exclude --filter '{"brand": "Nobody"}' --reason recall`
    """
    from kg.rules import add as make
    from kg.stores import open_stores

    asked, ends = _filters(filters), _time(until)
    with open_stores(open_settings(home, filled=True)) as stores:
        rule = make(
            stores.graph,
            action,  # type: ignore[arg-type]  # checked there
            products=product or (),
            filters=asked,
            query=query,
            category=category,
            expires_at=ends,
            by=me(),
            reason=reason,
        )
    emit(rule.json(), as_json, lambda: say(f"rule {rule.id}: {rule.action} {_row(rule.json())[2]}"))


@rules.command("remove")
def remove(id: RuleArgument, reason: ReasonOption = "", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Take a rule away; the trail keeps what it was.

    Example: `skugraph rules remove r0123456789 --reason "sale is over"`
    """
    from kg.rules import remove as take
    from kg.stores import open_stores

    with open_stores(open_settings(home, filled=True)) as stores:
        rule = take(stores.graph, id, by=me(), reason=reason)
    emit(rule.json(), as_json, lambda: say(f"removed rule {rule.id}: {rule.action} {_row(rule.json())[2]}"))


@rules.command("trail")
def trail(
    id: Annotated[str, typer.Argument(metavar="ID", help="Of one rule; empty: of all")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who made and removed rules, when and why, newest first.

    Example: `skugraph rules trail r0123456789`
    """
    from kg.rules import events
    from kg.stores import open_stores

    with open_stores(open_settings(home, filled=True)) as stores:
        found = [vars(event) for event in events(stores.graph, id)]
    head = ("at", "action", "rule", "by", "reason")
    emit(found, as_json, lambda: table(head, [tuple(row[name] for name in head) for row in found]))


def _row(rule: dict[str, Any]) -> list[str]:
    products, until = list(rule["products"]), rule["expires_at"][:16]
    more = f" and {len(products) - 3} more" if len(products) > 3 else ""
    what = ", ".join(products[:3]) + more if products else str(rule["filters"])
    over = " (expired)" if rule.get("expired") else ""
    return [
        rule["id"], rule["action"], what, rule["query"], ", ".join(rule["categories"]), until + over, rule["by"],
        rule["reason"],
    ]  # fmt: skip


def _filters(text: str | None) -> Any:
    import json

    from kg.filters import Filters

    if text is None:
        return None
    try:
        return Filters.model_validate(json.loads(text))
    except (ValueError, RecursionError) as error:
        hint = '--filter \'{"brand": "Aurora", "max_price": 20}\''
        raise BadInput(f"--filter {text!r}: not JSON: {error}", hint=hint) from error


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise BadInput(f"--until {text!r}: give it as 2030-01-31 or 2030-01-31T12:00+01:00") from error
