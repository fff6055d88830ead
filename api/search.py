"""A search from request to reply: select, plan, make the lists, fuse, explain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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
from kg.catalogue.fetch import fetch
from kg.catalogue.pictures import decode
from kg.errors import BadInput, EncoderMismatch, NotFound, TooLarge
from kg.graph import selection as graph_side
from kg.graph.resolving import select
from kg.graph.selection import Selection
from kg.settings import InstanceKind
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.generations import Generation

__all__ = ["Searcher"]

# Which vectors each part of the question is compared with; a generation that keeps none of these uses what it has.
COMPARED: dict[str, tuple[InstanceKind, ...]] = {
    "picture": ("image",),
    "text": ("image", "text"),
    "pair": ("fused",),
    "like": ("image", "text", "fused"),
}
DEPTH = 100  # products of a list that is fused with others, at least


@dataclass(frozen=True)
class _List:
    """One list to be made: queries (Q, D) against the collection of one kind."""

    collection: str
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
        settings, graph, clock = self.stores.settings, self.stores.graph, _Clock()
        if request.k > settings.search_max_k:
            raise BadInput(f"k = {request.k}: at most {settings.search_max_k} (setting search_max_k)", field="k")
        with clock("select"):
            selection = select(graph, request.filters, max_ids=settings.ids_max, timeout_s=settings.cypher_timeout_s)
        if not (request.text or request.has_picture or request.like):
            return self._browsed(request, selection, clock)
        generation = generations.live(self.stores)
        stale = generations.stale(self.stores, generation) if generation else 0
        with clock("encode"):
            wanted = self._wanted(request, generation)
        words = " ".join(query_words(request.text))
        names = [*wanted, "lexical"] if words else [*wanted]
        _check_weights(request, names)
        with clock("plan"):
            plan = planner.choose(self.stores, selection, stale, forced=request.plan) if wanted else WORDS_ONLY
        depth = request.k if len(names) == 1 else max(DEPTH, 2 * request.k)
        exclude = frozenset({request.like} if request.like else ())
        lists: dict[str, list[Ranked]] = {}
        for name, one in wanted.items():
            with clock(name):
                ask = Ask(self.stores.vectors, one.collection, one.queries, depth, exclude)
                lists[name] = planner.run(self.stores, plan, selection, ask)
        if words:
            with clock("lexical"):
                found = graph_side.words(graph, selection, words, depth + len(exclude))
                lists["lexical"] = [Ranked(id, "", score) for id, score in found if id not in exclude][:depth]
        fused = fuse(lists, method=request.fusion, weights=request.weights, constant=settings.rrf_constant)
        with clock("results"):
            matches = _matches(lists, {name: one.kind for name, one in wanted.items()})
            hits = hydrated(graph, fused[: request.k], matches, request, selection)
        notes = [*selection.notes] + (["no generation is live: only words are searched"] if not generation else [])
        return SearchReply(
            requested=request.k,
            returned=len(hits),
            plan=plan.name,
            exact=not wanted or plan.name == "exact" or self.stores.vectors.engine == "milvus_lite",
            generation=generation.id if generation else None,
            stale=stale,
            timings_ms=clock.report(),
            hits=tuple(hits),
            notes=tuple(notes),
            explanation=self._report(plan, selection, names) if request.explain else None,
        )

    def _browsed(self, request: SearchRequest, selection: Selection, clock: _Clock) -> SearchReply:
        """Nothing to rank by: the products inside the filters by id."""
        with clock("results"):
            found = [Fused(id, 0.0, {}, {}) for id in graph_side.page(self.stores.graph, selection, request.k)]
            hits = hydrated(self.stores.graph, found, {}, request, selection)
        plan = Plan("browse", "nothing to rank by: by id")
        return SearchReply(
            requested=request.k,
            returned=len(hits),
            plan=plan.name,
            exact=True,
            generation=None,
            stale=0,
            timings_ms=clock.report(),
            hits=tuple(hits),
            notes=selection.notes,
            explanation=self._report(plan, selection, []) if request.explain else None,
        )

    def _wanted(self, request: SearchRequest, generation: Generation | None) -> dict[str, _List]:
        """The vector lists to make, by name."""
        picture = self._picture(request)
        if request.like and not graph_side.members(self.stores.graph, Selection(), [request.like]):
            raise NotFound(f"no product {request.like!r} to be like", field="like")
        if generation is None:
            if picture or request.like:
                raise NotFound(
                    "no generation is live: there are no vectors to compare", hint="`skugraph embed` makes them"
                )
            return {}
        collections = generation.collections(self.stores.vectors.prefix)
        parts: dict[str, NDArray[np.float32]] = {}
        if picture or request.text:
            encoder = self._encoder(generation)
            if picture:
                parts["picture"] = encoder.encode_images([picture])
            if request.text:
                parts["text"] = encoder.encode_texts([request.text])
            if picture and request.text and "fused" in collections:
                parts["pair"] = encoder.encode_items([picture], [request.text])
        lists = {
            f"{part}-{kind}": _List(collections[kind], kind, queries)
            for part, queries in parts.items()
            for kind in [kind for kind in COMPARED[part] if kind in collections] or generation.kinds[:1]
        }
        if request.like:
            lists |= self._like(request.like, collections, generation)
        return lists

    def _like(self, product: str, collections: Mapping[str, str], generation: Generation) -> dict[str, _List]:
        """The stored vectors of a product as queries, each kind among its own."""
        stored = {kind: self.stores.vectors.fetch(collections[kind], [product]).vectors for kind in generation.kinds}
        lists = {f"like-{kind}": _List(collections[kind], kind, found) for kind, found in stored.items() if len(found)}
        if not lists:
            raise NotFound(f"product {product!r} has no vectors in generation {generation.id} yet", field="like")
        return lists

    def _picture(self, request: SearchRequest) -> Image | None:
        """The picture asked with, cropped to the box. What is fetched is not kept: it is not the catalogue's."""
        settings = self.stores.settings
        data, name = request.image, "in the request"
        if request.image_url is not None:
            name = request.image_url
            data = fetch(
                name,
                max_bytes=int(settings.picture_max_mb * 1e6),
                timeout_s=settings.picture_fetch_timeout_s,
                private=settings.fetch_private,
            )
        if data is None:
            return None
        if len(data) > settings.picture_max_mb * 1e6:
            raise TooLarge(f"picture {name}: {len(data) / 1e6:.1f} MB, the limit is {settings.picture_max_mb:g} MB")
        pixels = int(settings.picture_max_megapixels * 1e6)
        return decode(data, name=name, max_pixels=pixels, box=request.box)

    def _encoder(self, generation: Generation) -> Encoder:
        """The encoder that made the vectors of this generation."""
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

    def _report(self, plan: Plan, selection: Selection, names: Sequence[str]) -> PlanReport:
        size, exact = plan.candidates, plan.candidates_exact
        if size is None:
            limit = max(self.stores.settings.ids_max, 1)
            size = graph_side.count(self.stores.graph, selection, limit)
            exact = size < limit
        return PlanReport(
            why=plan.why, candidates=size, candidates_exact=exact, expression=plan.expression, lists=tuple(names)
        )


class _Clock:
    """Milliseconds by step."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._steps: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._steps[step] = self._steps.get(step, 0) + time.perf_counter() - start

    def report(self) -> dict[str, float]:
        steps = {**self._steps, "total": time.perf_counter() - self._start}
        return {name: round(1000 * seconds, 2) for name, seconds in steps.items()}


def _check_weights(request: SearchRequest, names: Sequence[str]) -> None:
    if unknown := sorted(set(request.weights) - set(names)):
        raise BadInput(f"weights: no list {unknown[0]!r} in this search; it has {', '.join(names)}", field="weights")
    if names and not any(request.weights.get(name, 1) for name in names):
        raise BadInput("weights: every list has weight 0", field="weights")


def _matches(
    lists: Mapping[str, Sequence[Ranked]], kinds: Mapping[str, InstanceKind]
) -> dict[str, tuple[str, InstanceKind]]:
    """Product → the instance to show, with the kind of its vector: of the list that ranks it best, pictures first."""
    best: dict[str, tuple[tuple[bool, int], str, InstanceKind]] = {}
    for name, kind in kinds.items():
        for rank, item in enumerate(lists[name]):
            key = (kind == "text", rank)
            if item.product_id not in best or key < best[item.product_id][0]:
                best[item.product_id] = (key, item.instance_id, kind)
    return {product: (instance, kind) for product, (_, instance, kind) in best.items()}


WORDS_ONLY = Plan("lexical", "no vectors to compare: the full-text index alone")
