"""A search from request to reply: select, plan, make the lists, fuse, explain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from api import planner
from api.explain import query_words
from api.fusion import Fused, Ranked, fuse
from api.models import PlanReport, SearchReply, SearchRequest
from api.planner import Plan
from api.plans import Ask
from api.results import hydrated
from encoders.protocol import Encoder
from kg.catalogue.pictures import Pictures, decode
from kg.errors import BadInput, EncoderMismatch, NotFound, TooLarge
from kg.graph import selection as graph_side
from kg.graph.cypher.products import EXISTS
from kg.graph.resolving import select
from kg.graph.selection import Selection
from kg.settings import InstanceKind
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.generations import Generation

__all__ = ["Searcher"]

# Which vectors each part of the question is compared with; where a generation keeps none of these, with its fused ones.
COMPARED: dict[str, tuple[InstanceKind, ...]] = {
    "picture": ("image",),
    "like": ("image", "text"),
    "text": ("image", "text"),
}
DEPTH = 100  # products of a list that is fused with others, at least


@dataclass(frozen=True)
class _List:
    """One list to be made: queries (Q, D) against the vectors of one kind."""

    kind: InstanceKind
    queries: NDArray[np.float32]


class Searcher:
    """Answers searches over one pair of stores; threads may share it.

    Args:
        stores: both stores, open.
        load_encoder: checkpoint folder → encoder; called once for each generation that becomes live.
    """

    def __init__(self, stores: Stores, load_encoder: Callable[[str], Encoder]) -> None:
        self.stores, self.load_encoder = stores, load_encoder
        self.pictures = Pictures.from_settings(stores.settings)
        self._encoders: dict[str, Encoder] = {}
        self._lock = threading.Lock()

    def search(self, request: SearchRequest) -> SearchReply:
        """The k best products inside the filters; fewer only where there are no more.

        Raises:
            BadInput: k above the setting `search_max_k`, a weight for a list that this search does not make, or a
                forced plan that would be wrong.
            BadFilter, BadQuery, TooLarge: see `kg.graph.resolving.select`.
            BadPicture, TooLarge: see `kg.catalogue.pictures`.
            NotFound: no such product to be like, it has no vectors, or no generation is live to compare pictures in.
            EncoderMismatch: the checkpoint of the live generation is not the one that its vectors were made with.
            StoreDown: a store does not answer.
        """
        settings, clock = self.stores.settings, _Clock()
        if request.k > settings.search_max_k:
            raise BadInput(f"k = {request.k}: at most {settings.search_max_k} (setting search_max_k)", field="k")
        with clock("select"):
            selection = select(
                self.stores.graph, request.filters, max_ids=settings.ids_max, timeout_s=settings.cypher_timeout_s
            )
        if not (request.text or request.has_picture or request.like):
            return self._browse(request, selection, clock)
        notes = list(selection.notes)
        generation = generations.live(self.stores)
        if generation is None:
            self._words_only(request)
            notes.append("no generation is live: only words are searched")
        stale = generations.stale(self.stores, generation) if generation else 0
        with clock("encode"):
            wanted = self._wanted(request, generation) if generation else {}
        names = [*wanted, *(["lexical"] if query_words(request.text) else [])]
        _check_weights(request, names)
        with clock("plan"):
            plan = planner.choose(self.stores, selection, stale, forced=request.plan) if wanted else LEXICAL_ONLY
        depth = request.k if len(names) == 1 else max(DEPTH, 2 * request.k)
        exclude = frozenset({request.like} if request.like else ())
        lists: dict[str, list[Ranked]] = {}
        for name in names:
            with clock(name):
                if name == "lexical":
                    lists[name] = self._lexical(request.text, selection, depth, exclude)
                else:
                    assert generation is not None
                    collection = generations.collection(
                        self.stores.vectors.prefix, generation.id, wanted[name].kind
                    )
                    ask = Ask(self.stores.vectors, collection, wanted[name].queries, depth, exclude)
                    lists[name] = planner.run(self.stores, plan, selection, ask)
        fused = fuse(lists, method=request.fusion, weights=request.weights, constant=settings.rrf_constant)
        with clock("results"):
            hits = hydrated(
                self.stores.graph, fused[: request.k], _matches(lists, wanted), request, selection
            )
        return SearchReply(
            requested=request.k,
            returned=len(hits),
            plan=plan.name,
            exact=plan.name == "exact" or not wanted or self.stores.vectors.engine == "milvus_lite",
            generation=generation.id if generation else None,
            stale=stale,
            timings_ms=clock.report(),
            hits=tuple(hits),
            notes=tuple(notes),
            explanation=self._report(plan, selection, names) if request.explain else None,
        )
