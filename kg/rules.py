"""Rules for what searches show: products pinned to the top, buried below all others, or left out.

A rule stands in the graph; who made or removed it, when and why, stays in the audit trail.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from kg.errors import BadInput, NotFound
from kg.filters import Filters
from kg.graph.cypher import rules as cypher
from kg.graph.driver import Graph, Tx
from kg.graph.resolving import select
from kg.graph.selection import Selection, members
from kg.records import normalise

__all__ = ["Action", "Rule", "RuleEvent", "add", "events", "get", "listing", "remove", "version"]

Action = Literal["pin", "bury", "exclude"]
MAX_PRODUCTS = 1000  # that one rule names
MAX_TEXT = 2000  # characters of a query or a reason
RESOLVE_S = 10.0


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        action: what is done to the products.
        products: ids, or
        filters: what admits them.
        query: the search's whole text, normalised; empty: whatever is asked.
        categories: keys; only searches that are filtered to these or below. None: all searches.
        expires_at: ISO; from then on it does nothing; empty: never.
        by: who made it.
        reason: why.
    """

    action: Action
    products: tuple[str, ...] = ()
    filters: Filters | None = None
    query: str = ""
    categories: tuple[str, ...] = ()
    expires_at: str = ""
    by: str = ""
    reason: str = ""
    created_at: str = field(default_factory=lambda: _now())
    id: str = field(default_factory=lambda: f"r{uuid.uuid4().hex[:10]}")

    def in_force(self, text: str, categories: Sequence[str], now: datetime) -> bool:
        """Whether it counts for a search.

        Args:
            text: of the search, normalised.
            categories: keys that the search is filtered to, with all below them.
            now: with a zone.
        """
        if self.expired(now) or (self.query and self.query != text):
            return False
        return not self.categories or (bool(categories) and all(map(self._inside, categories)))

    def expired(self, now: datetime) -> bool:
        return bool(self.expires_at) and datetime.fromisoformat(self.expires_at) <= now

    def _inside(self, category: str) -> bool:
        return any(category == key or category.startswith(f"{key} > ") for key in self.categories)

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"filters": self.filters and self.filters.model_dump(mode="json", exclude_defaults=True)}


@dataclass(frozen=True)
class RuleEvent:
    """One entry of the trail. It is never changed.

    Attributes:
        rule: id.
        figures: the rule as it was.
    """

    action: Literal["rule-add", "rule-remove"]
    rule: str
    by: str
    reason: str
    at: str
    figures: dict[str, Any]
    id: str


def add(
    graph: Graph,
    action: Action,
    *,
    products: Sequence[str] = (),
    filters: Filters | None = None,
    query: str = "",
    category: str = "",
    expires_at: datetime | None = None,
    by: str = "",
    reason: str = "",
) -> Rule:
    """Make a rule; the next search keeps it.

    Args:
        graph: where it is kept.
        action: what is done to the products.
        products: ids, in the order in which they are pinned.
        filters: what admits them, instead.
        query: only for searches whose whole text is this, however it is written.
        category: only for searches that are filtered to this category or one below: a name, or a key.
        expires_at: from then on it does nothing; without a zone it is UTC.
        by: who makes it.
        reason: why.

    Raises:
        BadInput: an unknown action, neither products nor filters or both, an end that is over or lies outside of the
            years 1 to 9999 in UTC, a text that is too long or holds half of a surrogate pair.
        NotFound: a product or the category does not exist.
    """
    if action not in get_args(Action):
        raise BadInput(f"action = {action!r}: {', '.join(get_args(Action))}", field="action")
    if bool(products) == bool(filters and not filters.empty):
        raise BadInput("a rule is for products or for filters: give one of both", field="products")
    if len(products) > MAX_PRODUCTS:
        raise BadInput(f"{len(products)} products: at most {MAX_PRODUCTS} in one rule", field="products")
    texts = {"query": (query,), "category": (category,), "by": (by,), "reason": (reason,), "products": products}
    for name, given in texts.items():
        _check_unicode(name, given)
    for name, text in (("query", query), ("reason", reason)):
        if len(text) > MAX_TEXT:
            raise BadInput(f"{name}: {len(text)} characters, at most {MAX_TEXT}", field=name)
    ends = _in_utc(expires_at) if expires_at else None
    if ends and ends <= datetime.now(UTC):
        raise BadInput(f"expires_at = {ends.isoformat()}: it is over already", field="expires_at")
    if missing := sorted(set(products) - members(graph, Selection(), products)):
        raise NotFound(f"no product {missing[0]!r}", field="products")
    rule = Rule(
        action,
        tuple(dict.fromkeys(products)),
        None if products else filters,
        normalise(query),
        _categories(graph, category) if category else (),
        ends.isoformat() if ends else "",
        by,
        reason,
    )
    graph.transaction(lambda tx: _add(tx, rule))
    return rule


def remove(graph: Graph, id: str, *, by: str = "", reason: str = "") -> Rule:
    """Take a rule away; the trail keeps what it was.

    Raises:
        BadInput: half of a surrogate pair in the reason.
        NotFound: no such rule.
    """
    _check_unicode("reason", (reason,))
    event = uuid.uuid4().hex

    def work(tx: Tx) -> Rule:
        rule = _one(tx.run(cypher.RULE, id=id), id)
        tx.run(cypher.RULE_REMOVE, id=id)
        _noted(tx, event, "rule-remove", rule, by, reason)
        return rule

    return graph.transaction(work)


def get(graph: Graph, id: str) -> Rule:
    """One rule.

    Raises:
        NotFound: no such id.
    """
    return _one(graph.read(cypher.RULE, id=id), id)


def listing(graph: Graph) -> list[Rule]:
    """Every rule, oldest first, those that have expired too."""
    return [_rule(row["r"]) for row in graph.read(cypher.RULES)]


def version(graph: Graph) -> int:
    """A number that every change of the rules makes larger."""
    return int(graph.read(cypher.RULES_VERSION)[0]["rules"])


def events(graph: Graph, rule: str = "", *, limit: int = 100) -> list[RuleEvent]:
    """The latest entries of the trail, of one rule or of all, newest first."""
    rows = (row["e"] for row in graph.read(cypher.RULE_EVENTS, rule=rule, limit=limit))
    return [RuleEvent(**row | {"figures": json.loads(row["figures"])}) for row in rows]


def _add(tx: Tx, rule: Rule) -> None:
    values = asdict(rule) | {
        "filters": rule.filters.model_dump_json(exclude_defaults=True) if rule.filters else "",
        "products": list(rule.products),
        "categories": list(rule.categories),
    }
    tx.run(cypher.RULE_ADD, id=values.pop("id"), values=values)
    _noted(tx, f"{rule.id}-add", "rule-add", rule, rule.by, rule.reason)


def _noted(tx: Tx, id: str, action: str, rule: Rule, by: str, reason: str) -> None:
    values = {"action": action, "rule": rule.id, "by": by, "reason": reason, "at": _now()}
    tx.run(cypher.RULE_EVENT_ADD, id=id, values=values | {"figures": json.dumps(rule.json(), ensure_ascii=False)})
    tx.run(cypher.RULES_CHANGED)


def _one(rows: Sequence[Mapping[str, Any]], id: str) -> Rule:
    if not rows:
        raise NotFound(f"no rule {id!r}", hint="`skugraph rules list` shows them", field="id")
    return _rule(rows[0]["r"])


def _rule(row: Mapping[str, Any]) -> Rule:
    values = {name: row[name] for name in Rule.__dataclass_fields__ if row.get(name) is not None}
    filters = Filters.model_validate_json(row["filters"]) if row.get("filters") else None
    lists = {name: tuple(row.get(name) or ()) for name in ("products", "categories")}
    return Rule(**values | {"filters": filters} | lists)


def _categories(graph: Graph, name: str) -> tuple[str, ...]:
    """Keys of the categories of that name; what lies below them follows from the keys."""
    found = select(graph, Filters(category=(name,)), max_ids=0, timeout_s=RESOLVE_S)
    keys = [key for key in found.asked["categories"] if key not in found.above]
    if not keys:
        raise NotFound(f"no category {name!r}", field="category")
    return tuple(keys)


def _check_unicode(name: str, texts: Sequence[str]) -> None:
    """Half of a surrogate pair, which JSON may spell, is no character, and no store takes it."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadInput(f"{name}: {text[:100]!r} holds half of a surrogate pair", field=name) from error


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        message = f"expires_at = {moment.isoformat()}: it lies outside of the years 1 to 9999 in UTC"
        raise BadInput(message, field="expires_at") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
