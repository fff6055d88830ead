"""A search from request to reply: select, plan, make the lists, fuse, explain."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from api import planner
from api.around import LIST, Around, look_around, narrow, widen
from api.clock import Clock
from api.entity_space import EntitySpace, graph_encoder
from api.fusion import Fused, Ranked, fuse
from api.given import given_entities, unknown
from api.lists import VectorList, matches, vector_lists
from api.models import Hit, PlanReport, SearchReply, SearchRequest
from api.planner import Plan
from api.plans import Ask
from api.results import hits, listings
from api.understanding import EntityFinder
from api.words import query_words
from encoders.protocol import Encoder
from kg.errors import BadInput
from kg.graph import selection as graph_side
from kg.graph.resolving import select
from kg.graph.selection import Selection
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.generations import Generation

__all__ = ["DEPTH", "Searcher"]

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
        self.finder = EntityFinder(stores, EntitySpace(stores, graph_encoder(stores.settings)).near)
        self._encoders: dict[str, Encoder] = {}
        self._lock = threading.Lock()

    def search(self, request: SearchRequest) -> SearchReply:
        """The k best products inside the filters; fewer only where there are no more.

        Raises:
            BadInput: k above the setting `search_max_k`, a weight for a list that this search does not make, a forced
                plan that would be wrong, or entities for an encoder that takes none.
            BadFilter, BadQuery, TooLarge: see `kg.graph.resolving.select`.
            BadPicture, NotFound, TooLarge: see `api.lists.vector_lists`.
            EncoderMismatch: the checkpoint of the live generation is not the one that its vectors were made with.
            StoreDown: a store does not answer.
        """
        settings, graph, clock = self.stores.settings, self.stores.graph, Clock()
        if request.k > settings.search_max_k:
            raise BadInput(f"k = {request.k}: at most {settings.search_max_k} (setting search_max_k)", field="k")
        with clock("select"):
            selection = select(graph, request.filters, max_ids=settings.ids_max, timeout_s=settings.cypher_timeout_s)
        if not (request.text or request.has_picture or request.like):
            with clock("results"):
                found = [Fused(id, 0.0, {}, {}) for id in graph_side.page(graph, selection, request.k)]
                shown = hits(listings(graph, [item.product_id for item in found]), found, {}, selection)
            return self._reply(request, selection, BROWSE, shown, clock)
        seen, notes = Around(), list[str]()
        if request.graph.mode != "off":
            with clock("understand"):
                seen = look_around(self.finder, request.text, request.graph)
            notes += seen.notes
        if request.graph.mode == "narrow" and seen.found:
            selection, note = narrow(selection, seen)
            notes.append(note)
        generation, stale = self.live()
        with clock("encode"):
            lists = vector_lists(self.stores, request, generation, self.encoder)
        notes += unknown(graph, given_entities(request.entities))
        words = " ".join(query_words(request.text))
        widened = request.graph.mode == "widen" and bool(seen.found)
        names = [*lists, *(["lexical"] if words else ()), *([LIST] if widened else ())]
        _check_weights(request, names)
        with clock("plan"):
            plan = planner.choose(self.stores, selection, stale, forced=request.plan) if lists else WORDS
        depth = request.k if len(names) == 1 else max(DEPTH, 2 * request.k)
        exclude = frozenset({request.like} if request.like else ())
        every = self.rank(plan, selection, lists, words, depth, clock, exclude)
        ranked = {name: found for name, [found] in every.items()}
        if widened:
            with clock(LIST):
                ranked[LIST], common = widen(
                    self.stores, selection, seen, products=self.finder.products, depth=depth, exclude=exclude
                )
            notes += common
        fused = fuse(ranked, method=request.fusion, weights=request.weights, constant=settings.rrf_constant)
        best = fused[: request.k]
        with clock("results"):
            cards = listings(graph, [item.product_id for item in best])
            matched = matches(ranked, {name: one.kind for name, one in lists.items()})
            shown = hits(cards, best, matched, selection, text=request.text, like=request.like, seen=seen)
        reply = self._reply(request, selection, plan, shown, clock, generation, stale, names)
        return reply.model_copy(update={"entities": tuple(seen.found.values()), "notes": (*reply.notes, *notes)})

    def live(self) -> tuple[Generation | None, int]:
        """The generation to search, and how many changes of the catalogue it has not embedded yet."""
        generation = generations.live(self.stores)
        return generation, generations.stale(self.stores, generation) if generation else 0

    def rank(
        self,
        plan: Plan,
        selection: Selection,
        lists: Mapping[str, VectorList],
        words: str,
        depth: int,
        clock: Clock,
        exclude: frozenset[str] = frozenset(),
    ) -> dict[str, list[list[Ranked]]]:
        """Every list of the `depth` best, and `lexical` where there are words: name → one list for each question."""
        ranked: dict[str, list[list[Ranked]]] = {}
        for name, one in lists.items():
            with clock(name):
                ask = Ask(self.stores.vectors, one.collection, one.questions, depth, exclude)
                ranked[name] = planner.run(self.stores, plan, selection, ask)
        if words:
            with clock("lexical"):
                rows = graph_side.words(self.stores.graph, selection, words, depth + len(exclude))
                ranked["lexical"] = [[Ranked(id, "", score) for id, score in rows if id not in exclude][:depth]]
        return ranked

    def exact(self, plan: Plan) -> bool:
        """True where no approximate index has a say."""
        return plan.name in ("exact", "lexical", "browse") or self.stores.vectors.engine == "milvus_lite"

    def _reply(
        self,
        request: SearchRequest,
        selection: Selection,
        plan: Plan,
        shown: Sequence[Hit],
        clock: Clock,
        generation: Generation | None = None,
        stale: int = 0,
        names: Sequence[str] = (),
    ) -> SearchReply:
        notes = ["no generation is live: only words are searched"] if plan is WORDS and generation is None else []
        return SearchReply(
            requested=request.k,
            returned=len(shown),
            plan=plan.name,
            exact=self.exact(plan),
            generation=generation.id if generation else None,
            stale=stale,
            timings_ms=clock.report(),
            hits=tuple(shown),
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

    def encoder(self, generation: Generation) -> Encoder:
        """The encoder that made the vectors of this generation; the one of the generation before is let go.

        Raises:
            EncoderMismatch: the checkpoint is another one now.
        """
        with self._lock:
            if generation.id not in self._encoders:
                encoder = self.load_encoder(generation.encoder_path)
                generations.check_encoder(generation, encoder.name, encoder.fingerprint)
                self._encoders = {generation.id: encoder}
            return self._encoders[generation.id]


def _check_weights(request: SearchRequest, names: Sequence[str]) -> None:
    if unknown := sorted(set(request.weights) - set(names)):
        raise BadInput(f"weights: no list {unknown[0]!r} in this search; it has {', '.join(names)}", field="weights")
    if names and not any(request.weights.get(name, 1) for name in names):
        raise BadInput("weights: every list has weight 0", field="weights")
