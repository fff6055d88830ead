"""A search from request to reply: select, plan, make the lists, fuse, explain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from api import planner
from api.explain import query_words
from api.fusion import Fused, Ranked, fuse
from api.lists import matches, vector_lists
from api.models import Hit, PlanReport, SearchReply, SearchRequest
from api.planner import Plan
from api.plans import Ask
from api.results import hydrated
from encoders.protocol import Encoder
from kg.errors import BadInput, EncoderMismatch
from kg.graph import selection as graph_side
from kg.graph.resolving import select
from kg.graph.selection import Selection
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.generations import Generation

__all__ = ["Searcher"]

DEPTH = 100  # products of a list that is fused with others, at least
BROWSE = Plan("browse", "nothing to rank by: the products by id")
WORDS = Plan("lexical", "no vectors to compare: the full-text index alone")


class Searcher:
    """Answers searches over one pair of stores; threads may share it.

    Args:
        stores: both stores, open.
        load_encoder: checkpoint folder → encoder; called once for each generation that becomes live.
    """

    def __init__(self, stores: Stores, load_encoder: Callable[[str], Encoder]) -> None:
        self.stores, self.load_encoder = stores, load_encoder
        self._encoders: dict[str, Encoder] = {}
        self._lock = threading.Lock()

    def search(self, request: SearchRequest) -> SearchReply:
        """The k best products inside the filters; fewer only where there are no more.

        Raises:
            BadInput: k above the setting `search_max_k`, a weight for a list that this search does not make, or a
                forced plan that would be wrong.
            BadFilter, BadQuery, TooLarge: see `kg.graph.resolving.select`.
            BadPicture, NotFound, TooLarge: see `api.lists.vector_lists`.
            EncoderMismatch: the checkpoint of the live generation is not the one that its vectors were made with.
            StoreDown: a store does not answer.
        """
        settings, graph, clock = self.stores.settings, self.stores.graph, _Clock()
        if request.k > settings.search_max_k:
            raise BadInput(f"k = {request.k}: at most {settings.search_max_k} (setting search_max_k)", field="k")
        with clock("select"):
            selection = select(graph, request.filters, max_ids=settings.ids_max, timeout_s=settings.cypher_timeout_s)
        if not (request.text or request.has_picture or request.like):
            with clock("results"):
                found = [Fused(id, 0.0, {}, {}) for id in graph_side.page(graph, selection, request.k)]
                hits = hydrated(graph, found, {}, request, selection)
            return self._reply(request, selection, BROWSE, hits, clock)
        generation = generations.live(self.stores)
        stale = generations.stale(self.stores, generation) if generation else 0
        with clock("encode"):
            lists = vector_lists(self.stores, request, generation, self._encoder)
        words = " ".join(query_words(request.text))
        names = [*lists, "lexical"] if words else [*lists]
        _check_weights(request, names)
        with clock("plan"):
            plan = planner.choose(self.stores, selection, stale, forced=request.plan) if lists else WORDS
        depth = request.k if len(names) == 1 else max(DEPTH, 2 * request.k)
        exclude = frozenset({request.like} if request.like else ())
        ranked: dict[str, list[Ranked]] = {}
        for name, one in lists.items():
            with clock(name):
                ask = Ask(self.stores.vectors, one.collection, one.queries, depth, exclude)
                ranked[name] = planner.run(self.stores, plan, selection, ask)
        if words:
            with clock("lexical"):
                rows = graph_side.words(graph, selection, words, depth + len(exclude))
                ranked["lexical"] = [Ranked(id, "", score) for id, score in rows if id not in exclude][:depth]
        fused = fuse(ranked, method=request.fusion, weights=request.weights, constant=settings.rrf_constant)
        with clock("results"):
            hits = hydrated(graph, fused[: request.k], matches(ranked, lists), request, selection)
        return self._reply(request, selection, plan, hits, clock, generation, stale, names)

    def _reply(
        self,
        request: SearchRequest,
        selection: Selection,
        plan: Plan,
        hits: Sequence[Hit],
        clock: _Clock,
        generation: Generation | None = None,
        stale: int = 0,
        names: Sequence[str] = (),
    ) -> SearchReply:
        approximate = plan.name not in ("exact", "lexical", "browse") and self.stores.vectors.engine != "milvus_lite"
        notes = ["no generation is live: only words are searched"] if plan is WORDS and generation is None else []
        return SearchReply(
            requested=request.k,
            returned=len(hits),
            plan=plan.name,
            exact=not approximate,
            generation=generation.id if generation else None,
            stale=stale,
            timings_ms=clock.report(),
            hits=tuple(hits),
            notes=(*selection.notes, *notes),
            explanation=self._explanation(plan, selection, names) if request.explain else None,
        )

    def _explanation(self, plan: Plan, selection: Selection, names: Sequence[str]) -> PlanReport:
        size, exact = plan.candidates, plan.candidates_exact
        if size is None:
            limit = self.stores.settings.ids_max + 1
            size = graph_side.count(self.stores.graph, selection, limit)
            exact = size < limit
        return PlanReport(
            why=plan.why, candidates=size, candidates_exact=exact, expression=plan.expression, lists=tuple(names)
        )

    def _encoder(self, generation: Generation) -> Encoder:
        """The encoder that made the vectors of this generation; the one of the generation before is let go."""
        with self._lock:
            if generation.id not in self._encoders:
                encoder = self.load_encoder(generation.encoder_path)
                if encoder.fingerprint != generation.fingerprint:
                    raise EncoderMismatch(
                        f"the checkpoint {generation.encoder_path} has fingerprint {encoder.fingerprint}, but "
                        f"generation {generation.id} was embedded with {generation.fingerprint}",
                        hint="put the checkpoint back, or embed the catalogue with this one",
                    )
                self._encoders = {generation.id: encoder}
            return self._encoders[generation.id]


class _Clock:
    """Milliseconds by step."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._steps: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._steps[step] = time.perf_counter() - start

    def report(self) -> dict[str, float]:
        steps = {**self._steps, "total": time.perf_counter() - self._start}
        return {name: round(1000 * seconds, 2) for name, seconds in steps.items()}


def _check_weights(request: SearchRequest, names: Sequence[str]) -> None:
    if unknown := sorted(set(request.weights) - set(names)):
        raise BadInput(f"weights: no list {unknown[0]!r} in this search; it has {', '.join(names)}", field="weights")
    if names and not any(request.weights.get(name, 1) for name in names):
        raise BadInput("weights: every list has weight 0", field="weights")
