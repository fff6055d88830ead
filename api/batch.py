"""Searches together, each step done for all of them: select, plan, make the lists, fuse, explain.

Equal filters are resolved once, what has to be embedded goes through the encoder together, and lists of one collection,
one plan and one selection are asked for in one request. A search alone is a batch of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from api import planner
from api.around import LIST, Around, look_around, narrow, widen
from api.arranging import POOL, arranged
from api.clock import Clock, shared
from api.encoding import Outcome, Wish
from api.fusion import Fused, Ranked, fuse
from api.given import given_entities, unknown
from api.lists import EMBED, NO_GENERATION, VectorList, compared, like_lists, likes, matches, wishes
from api.models import Hit, SearchReply, SearchRequest
from api.planner import Plan
from api.results import Listings, hits, listings
from api.rules import DONE, Ruling, within
from api.words import telling_words
from encoders.protocol import entity_encoder
from kg.errors import BadInput, NotFound, SkugraphError
from kg.graph import selection as graph_side
from kg.graph.resolving import selected
from kg.graph.selection import Selection
from kg.rules import Rule
from kg.rules import version as rule_version
from kg.vectors.generations import Generation, Part

if TYPE_CHECKING:
    from api.search import Searcher

__all__ = ["BROWSE", "DEPTH", "WORDS", "answers"]

SLICE = 32  # searches that take their steps together
DEEPER = 4  # times longer lists where they were too short
DEPTH = 100  # products of a list that is fused with others, at least
BROWSE = Plan("browse", "nothing to rank by: the products by id")
WORDS = Plan("lexical", "no vectors to compare: the full-text index alone")


@dataclass(eq=False)
class Task:
    """One search on its way; `wrong` says why it goes no further."""

    request: SearchRequest
    clock: Clock = field(default_factory=Clock)
    selection: Selection = field(default_factory=Selection)
    seen: Around = field(default_factory=Around)
    notes: list[str] = field(default_factory=list)
    generation: Generation | None = None
    stale: int = 0
    lists: dict[str, VectorList] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    plan: Plan = BROWSE
    depth: int = 0
    ranked: dict[str, list[Ranked]] = field(default_factory=dict)
    common: list[str] = field(default_factory=list)
    ruling: Ruling = field(default_factory=Ruling)
    best: list[Fused] = field(default_factory=list)
    touched: Mapping[str, Rule] = field(default_factory=dict)
    wrong: SkugraphError | None = None

    @property
    def words(self) -> str:
        return " ".join(telling_words(self.request.text))

    @property
    def ranks(self) -> bool:
        """Whether there is anything to rank by."""
        return bool(self.request.text or self.request.has_picture or self.request.like)

    @property
    def exclude(self) -> frozenset[str]:
        return frozenset({self.request.like} if self.request.like else ())

    @property
    def widened(self) -> bool:
        return self.request.graph.mode == "widen" and bool(self.seen.found)


def answers(
    searcher: Searcher, requests: Sequence[SearchRequest], *, rules: bool = True
) -> Iterator[SearchReply | SkugraphError]:
    """For each request, in order, its reply or what is wrong with it; equal ones are searched once.

    Errors: see `Searcher.search`.
    """
    first: dict[str, int] = {}  # what is asked → where
    alone = len(requests) == 1
    places = [first.setdefault("" if alone else one.model_dump_json(), at) for at, one in enumerate(requests)]
    last = {place: at for at, place in enumerate(places)}  # where a reply is wanted for the last time
    ready: dict[int, SearchReply | SkugraphError] = {}
    refused: dict[str, BadInput] = {}
    waiting = iter(first.values())
    for at, place in enumerate(places):
        if place not in ready:
            part = list(islice(waiting, SLICE))
            ready |= zip(part, _together(searcher, [requests[one] for one in part], rules, refused), strict=True)
        yield ready.pop(place) if last[place] == at else ready[place]


def _together(
    searcher: Searcher, requests: Sequence[SearchRequest], rules: bool, refused: dict[str, BadInput]
) -> list[SearchReply | SkugraphError]:
    tasks = [Task(request) for request in requests]
    _select(searcher, tasks, refused)
    ranking = [task for task in _left(tasks) if task.ranks]
    _each(ranking, lambda task: _understand(searcher, task))
    if _left(ranking):
        generation, stale, version, revision = searcher.standing()
        for task in ranking:
            task.generation, task.stale = generation, stale
    else:
        generation, version, revision = None, rule_version(searcher.stores.graph), None
    if rules and version:
        _each(_left(tasks), lambda task: _rule(searcher, task, version, revision))
    _embed(searcher, _left(ranking), generation)
    _plan(searcher, _left(ranking))
    _rank(searcher, _left(ranking))
    _each(_left(tasks), lambda task: _best(searcher, task))
    left = _left(tasks)
    with shared([task.clock for task in left], "results"):
        cards = listings(searcher.stores.graph, [item.product_id for task in left for item in task.best])
    return [task.wrong or _reply(searcher, task, cards) for task in tasks]


def _left(tasks: Sequence[Task]) -> list[Task]:
    return [task for task in tasks if task.wrong is None]


def _each(tasks: Sequence[Task], step: Callable[[Task], None]) -> None:
    for task in tasks:
        try:
            step(task)
        except SkugraphError as error:
            task.wrong = error


def _select(searcher: Searcher, tasks: Sequence[Task], refused: dict[str, BadInput]) -> None:
    """What the filters mean; equal filters give one selection, that of the first, or one error: a pattern that runs too
    long must not do so for each.

    Args:
        searcher: whose stores are asked.
        tasks: searches.
        refused: filters that failed earlier in the batch, and why; those that fail now are added.
    """
    settings = searcher.stores.settings
    known: dict[str, Selection | SkugraphError] = dict(refused)

    def resolved(request: SearchRequest) -> Selection | SkugraphError:
        try:
            return selected(searcher.stores, request.filters)
        except SkugraphError as error:
            return error

    def step(task: Task) -> None:
        request = task.request
        if request.k > settings.search_max_k:
            raise BadInput(f"k = {request.k}: at most {settings.search_max_k} (setting search_max_k)", field="k")
        with task.clock("select"):
            asked = request.filters.model_dump_json()
            if asked not in known:
                known[asked] = resolved(request)
            found = known[asked]
            if isinstance(found, SkugraphError):
                raise found
            task.selection = found

    _each(tasks, step)
    refused |= {asked: found for asked, found in known.items() if isinstance(found, BadInput)}


def _understand(searcher: Searcher, task: Task) -> None:
    """The entities of the text, where the graph is asked for; they may narrow the selection."""
    request = task.request
    if request.graph.mode == "off":
        return
    with task.clock("understand"):
        task.seen = look_around(searcher.finder, request.text, request.graph)
    task.notes += task.seen.notes
    if request.graph.mode == "narrow" and task.seen.found:
        task.selection, note = narrow(task.selection, task.seen)
        task.notes.append(note)


def _rule(searcher: Searcher, task: Task, version: int, revision: int | None) -> None:
    """The rules in force for this search."""
    with task.clock("rules"):
        found = searcher.rules.in_force(task.request.text, within(task.selection), version)
        task.ruling = Ruling.of(searcher.rules, found, revision)


def _embed(searcher: Searcher, tasks: Sequence[Task], generation: Generation | None) -> None:
    """The vectors to ask with, those of all searches encoded together; then the names of each search's lists."""
    stores = searcher.stores
    with shared([task.clock for task in tasks], "encode"):
        parts = _encoded(searcher, tasks, generation) if generation else {}
        wanted = [task.request.like for task in tasks if task.request.like]
        there = graph_side.members(stores.graph, Selection(), wanted) if wanted else set()
        stored = likes(stores, sorted(there), generation) if generation and there else {}

    def step(task: Task) -> None:
        request, like = task.request, task.request.like
        if like and like not in there:
            raise NotFound(f"no product {like!r} to be like", field="like")
        if generation is None:
            if request.has_picture or like or request.entities:
                raise NotFound(NO_GENERATION, hint=EMBED)
        else:
            task.lists = compared(stores, generation, parts[task], request.vectors)
            if like and like not in stored:
                raise NotFound(f"product {like!r} has no vectors in generation {generation.id} yet", field="like")
            if like:
                task.lists |= like_lists(stores, generation, stored[like], request.vectors)
        task.notes += unknown(stores.graph, given_entities(request.entities))
        lexical = ["lexical"] if task.words else []
        task.names = [*task.lists, *lexical, *([LIST] if task.widened else [])]
        _check_weights(request, task.names)
        task.depth = request.k if len(task.names) == 1 else max(DEPTH, 2 * request.k)
        if task.ruling or request.group != "none" or request.diversity:
            task.depth = max(task.depth, POOL * request.k)

    _each(_left(tasks), step)


def _encoded(
    searcher: Searcher, tasks: Sequence[Task], generation: Generation
) -> dict[Task, dict[Part, list[NDArray[np.float32]]]]:
    """Task → part → its vectors."""
    asked: dict[Task, dict[Part, Wish]] = {}

    def wish(task: Task) -> None:
        asked[task] = wishes(searcher.stores.settings, task.request, generation)
        if task.request.entities:
            entity_encoder(searcher.encoder(generation))

    _each(tasks, wish)
    flat = [(task, part, one) for task, parts in asked.items() for part, one in parts.items() if task.wrong is None]
    found: dict[Task, dict[Part, list[NDArray[np.float32]]]] = {task: {} for task in tasks}
    if not flat:
        return found
    vectors: Sequence[Outcome]
    try:
        vectors = searcher.encodings.get(searcher.encoder(generation), [one for *_, one in flat])
    except SkugraphError as error:  # of the encoder itself: whoever needs it
        vectors = [error] * len(flat)
    for (task, part, _), vector in zip(flat, vectors, strict=True):
        if isinstance(vector, SkugraphError):
            task.wrong = task.wrong or vector
        else:
            found[task][part] = [vector]
    return found


def _plan(searcher: Searcher, tasks: Sequence[Task]) -> None:
    """One plan for what is searched inside one selection."""
    known: dict[tuple[int, str | None], Plan] = {}

    def step(task: Task) -> None:
        key = (id(task.selection), task.request.plan)
        with task.clock("plan"):
            if task.lists and key not in known:
                known[key] = planner.choose(
                    searcher.stores,
                    task.selection,
                    task.stale,
                    forced=task.request.plan,
                    generation=task.generation,
                    k=task.depth,
                )
            task.plan = known[key] if task.lists else WORDS

    _each(tasks, step)


def _rank(searcher: Searcher, tasks: Sequence[Task]) -> None:
    """Every list of every search, those of one plan and depth asked for together."""
    alike: dict[tuple[int, int], list[Task]] = {}
    for task in tasks:
        alike.setdefault((id(task.plan), task.depth), []).append(task)
    for some in alike.values():
        try:
            _rank_alike(searcher, some)
        except SkugraphError as error:
            for task in some:
                task.wrong = error


def _rank_alike(searcher: Searcher, tasks: Sequence[Task]) -> None:
    first, clocks = tasks[0], [task.clock for task in tasks]
    lists = {(n, name): one for n, task in enumerate(tasks) for name, one in task.lists.items()}
    spare = 1 if any(task.exclude for task in tasks) else 0  # who asks with a product finds that product
    found = searcher.nearest(first.plan, first.selection, lists, first.depth + spare, lambda step: shared(clocks, step))
    read: dict[tuple[int, str], list[Ranked]] = {}
    for n, task in enumerate(tasks):
        exclude, depth = task.exclude, task.depth
        for name in task.lists:
            [ranked] = found[n, name]
            task.ranked[name] = [item for item in ranked if item.product_id not in exclude][:depth]
        if task.words:
            with task.clock("lexical"):
                key = (id(task.selection), task.words)
                if key not in read:
                    read[key] = searcher.lexical(task.selection, task.words, depth + spare)
                task.ranked["lexical"] = [item for item in read[key] if item.product_id not in exclude][:depth]
        if task.widened:
            with task.clock(LIST):
                task.ranked[LIST], common = widen(
                    searcher.stores,
                    task.selection,
                    task.seen,
                    products=searcher.finder.products,
                    depth=depth,
                    exclude=exclude,
                )
            task.common = common


def _best(searcher: Searcher, task: Task) -> None:
    """The k best. Where rules or grouping leave fewer, longer lists are asked for, until these hold all there is."""
    request, stores = task.request, searcher.stores
    if task.plan is BROWSE:
        task.depth = request.k if not task.ruling and request.group == "none" else POOL * request.k
    while True:
        if task.plan is BROWSE:
            with task.clock("results"):
                page = graph_side.page(stores.graph, task.selection, task.depth)
            fused, more = [Fused(id, 0.0, {}, {}) for id in page], len(page) >= task.depth
        else:
            fused = fuse(
                task.ranked, method=request.fusion, weights=request.weights, constant=stores.settings.rrf_constant
            )
            counted = [found for name, found in task.ranked.items() if request.weights.get(name, 1)]
            more = any(len(found) >= task.depth for found in counted)
        with task.clock("arrange"):
            done = arranged(stores, fused, request, task.selection, task.ruling, task.generation)
        if not (done.short and more):
            break
        task.depth *= DEEPER
        if task.plan is not BROWSE:
            _rank_alike(searcher, [task])
    task.best, task.touched = done.best, done.touched
    task.notes += [*task.common, *done.notes]


def _reply(searcher: Searcher, task: Task, cards: Listings) -> SearchReply:
    request, plan = task.request, task.plan
    matched = matches(task.ranked, {name: one.kind for name, one in task.lists.items()})
    with task.clock("results"):
        shown = hits(cards, task.best, matched, task.selection, text=request.text, like=request.like, seen=task.seen)
    shown = [_ruled(hit, task.touched) for hit in shown]
    lonely = plan is WORDS and task.generation is None
    return SearchReply(
        requested=request.k,
        returned=len(shown),
        plan=plan.name,
        exact=searcher.exact(plan),
        generation=task.generation.id if task.generation else None,
        stale=task.stale,
        timings_ms=task.clock.report(),
        hits=tuple(shown),
        entities=tuple(task.seen.found.values()),
        notes=(
            *task.selection.notes,
            *(["no generation is live: only words are searched"] if lonely else []),
            *task.notes,
        ),
        explanation=searcher.explanation(
            plan, task.selection, task.names, task.generation, k=task.depth, spent=task.clock.report()
        )
        if request.explain
        else None,
    )


def _ruled(hit: Hit, touched: Mapping[str, Rule]) -> Hit:
    """What a rule did to it stands first among its reasons."""
    if (rule := touched.get(hit.product.id)) is None:
        return hit
    reasons = [f"{DONE[rule.action]} by rule {rule.id}", *filter(None, [hit.reason])]
    return hit.model_copy(update={"rule": rule.id, "reason": "; ".join(reasons)})


def _check_weights(request: SearchRequest, names: Sequence[str]) -> None:
    if unknown := sorted(set(request.weights) - set(names)):
        raise BadInput(f"weights: no list {unknown[0]!r} in this search; it has {', '.join(names)}", field="weights")
    if names and not any(request.weights.get(name, 1) for name in names):
        raise BadInput("weights: every list has weight 0", field="weights")
