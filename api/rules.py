"""What rules do to one search: which are in force, and which products of its lists they touch."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kg import feed
from kg.conditions import All, Leaf
from kg.errors import BadInput
from kg.graph.driver import Graph
from kg.graph.resolving import selected
from kg.graph.selection import Selection, members
from kg.records import normalise
from kg.rules import Action, Rule, listing
from kg.stores import Stores

__all__ = ["DONE", "RuleBook", "Ruling", "within"]

DONE: dict[Action, str] = {"pin": "pinned", "bury": "buried", "exclude": "excluded"}
FIRST: tuple[Action, ...] = ("exclude", "pin", "bury")  # of several rules for one product
KEPT = 256  # resolved filters of rules
KEPT_S = 60.0  # at most, for what the catalogue's revision does not tell: edges between entities, a clock in the Cypher
WORTH = 20  # times as long as it took is a resolved filter kept, whatever changed: searches wait for 1/20 of the time


@dataclass(frozen=True)
class _Resolved:
    """What the filters of a rule mean, or why they fail."""

    outcome: Selection | BadInput
    revision: int
    at: float
    took: float

    def good(self, revision: int, now: float) -> bool:
        age = now - self.at
        return age < WORTH * self.took or (revision == self.revision and age < KEPT_S)


def within(selection: Selection) -> list[Sequence[str]]:
    """Keys of categories, those below them too, that every product of the selection is in one of: one list for each
    filter by category that must pass."""
    tree = selection.tree
    parts = tree.parts if isinstance(tree, All) else (tree,)  # folded: no All stands in an All
    return [part.value for part in parts if isinstance(part, Leaf) and part.name == "categories"]


class RuleBook:
    """The rules as they were last read, and what their filters mean; threads share it."""

    def __init__(self, stores: Stores, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.stores, self._clock = stores, clock
        self._resolved: OrderedDict[str, _Resolved] = OrderedDict()  # by rule, the one longest unused first
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
                for rule in listing(self.stores.graph) if version else ():
                    rules.setdefault(rule.query, []).append(rule)
                self._by_query, self._version = rules, version
                there = {rule.id for some in rules.values() for rule in some}
                for gone in self._resolved.keys() - there:
                    del self._resolved[gone]
            known = self._by_query
        if not known:
            return []
        asked, now = normalise(text), datetime.now(UTC)
        found = [*known.get("", ()), *(known.get(asked, ()) if asked else ())]
        chosen = [rule for rule in found if any(rule.in_force(asked, keys, now) for keys in categories or [()])]
        return sorted(chosen, key=lambda rule: (rule.created_at, rule.id))

    def resolved(self, rule: Rule, revision: int) -> Selection:
        """What the filters of a rule mean, from memory where the catalogue has not changed since. What took long, be it
        in vain, is kept for longer: a slow pattern must not slow down every search.

        Args:
            rule: with filters; a rule never changes, so that its id tells these.
            revision: of the catalogue, read before.

        Raises:
            BadInput: the filters fail.
        """
        assert rule.filters is not None
        with self._lock:
            known = self._resolved.get(rule.id)
            if known is not None:
                self._resolved.move_to_end(rule.id)
        if known is None or not known.good(revision, self._clock()):  # at worst two threads resolve the same
            start = self._clock()
            outcome: Selection | BadInput
            try:
                outcome = selected(self.stores, rule.filters)
            except BadInput as error:
                outcome = error
            end = self._clock()
            known = _Resolved(outcome, revision, end, end - start)
            with self._lock:
                self._resolved[rule.id] = known
                self._resolved.move_to_end(rule.id)
                while len(self._resolved) > KEPT:
                    self._resolved.popitem(last=False)
        if isinstance(known.outcome, BadInput):
            raise known.outcome
        return known.outcome


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
    def of(cls, book: RuleBook, rules: Sequence[Rule], revision: int | None = None) -> Ruling:
        """Resolves the filters of the rules. A rule whose filters fail by now is left out, and noted: it must not bring
        down every search. `revision` is the catalogue's, where it was read just now."""
        made = cls(book.stores.graph)
        kept = []
        filtered = any(rule.filters is not None for rule in rules)
        if filtered and revision is None:
            revision = feed.revision(book.stores.graph)
        for rule in rules:
            try:
                if rule.filters is not None:
                    made._inside[rule.id] = book.resolved(rule, revision or 0)
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
