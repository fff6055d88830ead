"""What rules do to one search: which are in force, and which products of its lists they touch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kg.conditions import All, Leaf
from kg.errors import BadInput
from kg.graph.driver import Graph
from kg.graph.resolving import select
from kg.graph.selection import Selection, members
from kg.records import normalise
from kg.rules import Action, Rule, listing
from kg.settings import Settings

__all__ = ["DONE", "RuleBook", "Ruling", "within"]

DONE: dict[Action, str] = {"pin": "pinned", "bury": "buried", "exclude": "excluded"}
FIRST: tuple[Action, ...] = ("exclude", "pin", "bury")  # of several rules for one product


def within(selection: Selection) -> list[Sequence[str]]:
    """Keys of categories, those below them too, that every product of the selection is in one of: one list for each
    filter by category that must pass."""
    tree = selection.tree
    parts = tree.parts if isinstance(tree, All) else (tree,)  # folded: no All stands in an All
    return [part.value for part in parts if isinstance(part, Leaf) and part.name == "categories"]


class RuleBook:
    """The rules as they were last read; threads share it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._version = -1
        self._by_query: dict[str, list[Rule]] = {}
        self._lock = threading.Lock()

    def in_force(self, text: str, categories: Sequence[Sequence[str]], version: int) -> list[Rule]:
        """Rules that count for a search, oldest first.

        Args:
            text: of the search.
            categories: that it is filtered to (`within`); a rule for a category counts by any of the lists.
            version: of the rules by now; another than known lets them be read again.
        """
        with self._lock:
            if version != self._version:
                rules: dict[str, list[Rule]] = {}
                for rule in listing(self.graph) if version else ():
                    rules.setdefault(rule.query, []).append(rule)
                self._by_query, self._version = rules, version
            known = self._by_query
        if not known:
            return []
        asked, now = normalise(text), datetime.now(UTC)
        found = [*known.get("", ()), *(known.get(asked, ()) if asked else ())]
        chosen = [rule for rule in found if any(rule.in_force(asked, keys, now) for keys in categories or [()])]
        return sorted(chosen, key=lambda rule: (rule.created_at, rule.id))


@dataclass
class Ruling:
    """Rules in force for one search, and what they say of products.

    Attributes:
        notes: rules that could not be kept.
    """

    graph: Graph | None = None
    rules: Sequence[Rule] = ()
    notes: list[str] = field(default_factory=list)
    _inside: dict[str, Selection] = field(default_factory=dict)
    _judged: dict[str, Rule | None] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, rules: Sequence[Rule], settings: Settings) -> Ruling:
        """Resolves the filters of the rules. A rule whose filters fail by now is left out, and noted: it must not bring
        down every search."""
        made = cls(graph)
        kept = []
        for rule in rules:
            try:
                if rule.filters is not None:
                    made._inside[rule.id] = select(
                        graph, rule.filters, max_ids=settings.ids_max, timeout_s=settings.cypher_timeout_s
                    )
                kept.append(rule)
            except BadInput as error:
                made.notes.append(f"rule {rule.id} is left out: {error.message}")
        made.rules = kept
        return made

    def __bool__(self) -> bool:
        return bool(self.rules)

    def pinned(self, selection: Selection) -> list[str]:
        """Products that are pinned by name and pass the filters of the search, in order."""
        named = [id for rule in self.rules if rule.action == "pin" for id in rule.products]
        there = members(self.graph, selection, named) if self.graph and named else set()
        return [id for id in dict.fromkeys(named) if id in there]

    def touching(self, ids: Sequence[str]) -> dict[str, Rule]:
        """Product → the rule that it comes under, those that come under one."""
        new = [id for id in dict.fromkeys(ids) if id not in self._judged]
        self._judged |= dict.fromkeys(new)
        for action in reversed(FIRST):  # what counts most has the last word, and of one action the oldest rule
            for rule in reversed([rule for rule in self.rules if rule.action == action]):
                meant = set(rule.products).intersection(new)
                if self.graph and rule.id in self._inside and new:
                    meant = members(self.graph, self._inside[rule.id], new)
                self._judged |= dict.fromkeys(meant, rule)
        return {id: found for id in ids if (found := self._judged[id]) is not None}
