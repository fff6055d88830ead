"""Instance retrieval: a picture with several products, answered product by product and as one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from api import planner
from api.clock import Clock
from api.fusion import Fused, Ranked, fuse
from api.instance_models import InstanceHits, InstancesReply, InstancesRequest, MergedHit
from api.lists import EMBED, NO_GENERATION, compared, matches, picture
from api.merging import Merged, merge
from api.models import Hit
from api.regions import Region, crop, given, proposed, region_vectors, shared, whole
from api.results import Listings, hits, listings
from api.search import DEPTH, Searcher
from api.words import telling_words
from encoders.protocol import Encoder
from kg.errors import BadInput, NotFound
from kg.graph.resolving import selected
from kg.graph.selection import Selection
from kg.settings import InstanceKind
from kg.vectors.generations import Generation, Part

__all__ = ["search_instances"]

NOTHING_STANDS_OUT = "no region of the picture stands out: all of it was searched"


@dataclass(frozen=True)
class Answer:
    """One region with its lists and what they fuse to."""

    region: Region
    ranked: Mapping[str, Sequence[Ranked]]
    fused: Sequence[Fused]
    matched: Mapping[str, tuple[str, InstanceKind]]

    @property
    def own(self) -> Sequence[Ranked]:
        """The list of this very region, with the text where they are compared together, by cosine: scores that compare
        between regions, as fused ones do not."""
        names = (name for part in ("pair-", "picture-") for name in self.ranked if name.startswith(part))
        return self.ranked[next(names)]

    @property
    def best(self) -> float:
        """Cosine of its first product."""
        return self.own[0].score if self.own else -1.0


def search_instances(searcher: Searcher, request: InstancesRequest) -> InstancesReply:
    """What each product in the picture may be, inside the filters.

    All regions go through one plan, the vectors of all in one request to the store where it can hold them.

    Raises:
        BadInput: a box outside of the picture, no boxes and an encoder without a detector, or k or merged_k above the
            setting `search_max_k`.
        BadPicture, TooLarge: see `api.lists.picture`.
        NotFound: no generation is live.
        BadFilter, BadQuery, EncoderMismatch, StoreDown: see `Searcher.search`.
    """
    stores, clock = searcher.stores, Clock()
    settings, graph = stores.settings, stores.graph
    for name, wanted in (("k", request.k), ("merged_k", request.merged_k)):
        if wanted > settings.search_max_k:
            raise BadInput(f"{name} = {wanted}: at most {settings.search_max_k} (setting search_max_k)", field=name)
    with clock("select"):
        selection = selected(stores, request.filters)
    with clock("decode"):
        image = picture(settings, request.image, request.image_url)
        assert image is not None  # the request has one
        regions = given(image, request.boxes) if request.boxes else []
    generation, stale = searcher.live()
    if generation is None:
        raise NotFound(NO_GENERATION, hint=EMBED)
    encoder = searcher.encoder(generation)
    notes: tuple[str, ...] = ()
    with clock("propose"):
        regions = regions or proposed(encoder, image, limit=request.limit, min_score=request.min_score)
        if not regions:
            regions, notes = [whole(image)], (NOTHING_STANDS_OUT,)
    with clock("encode"):
        lists = compared(stores, generation, _parts(encoder, generation, image, regions, request.text))
    words = " ".join(telling_words(request.text))
    with clock("plan"):
        plan = planner.choose(stores, selection, stale, generation=generation)
    alone = len(lists) == 1 and not words and request.merge != "mean_top"
    depth = max(request.k, request.merged_k) if alone else max(DEPTH, 2 * request.k, request.merged_k)
    kinds = {name: one.kind for name, one in lists.items()}
    every = searcher.rank(plan, selection, lists, words, depth, clock)
    answers = []
    for at, region in enumerate(regions):
        # A list of the text alone is the same for every region, and was made once.
        ranked = {name: found[at if len(found) > 1 else 0] for name, found in every.items()}
        fused = fuse(ranked, constant=settings.rrf_constant)
        answers.append(Answer(region, ranked, fused, matches(ranked, kinds)))
    with clock("merge"):
        seen = listings(graph, [item.product_id for answer in answers for item in answer.fused[: request.k]])
        answers, gone = _distinct(answers, seen, request.overlap)
        merged = _merged(answers, request)
    if gone:
        notes += (f"{gone} of {len(regions)} regions found the same product as another that they overlap",)
    with clock("results"):
        new = [entry.id for entry in merged if entry.id not in seen.cards]
        cards = seen.joined(listings(graph, new)) if new else seen
        instances = tuple(
            InstanceHits(
                number=number,
                box=answer.region.box,
                score=answer.region.score,
                hits=tuple(hits(cards, answer.fused[: request.k], answer.matched, selection, text=request.text)),
            )
            for number, answer in enumerate(answers, 1)
        )
        chosen = tuple(_joined(answers, merged, cards, selection, request.text))
    return InstancesReply(
        width=image.width,
        height=image.height,
        instances=instances,
        merged=chosen,
        merge=request.merge,
        plan=plan.name,
        exact=searcher.exact(plan),
        generation=generation.id,
        stale=stale,
        timings_ms=clock.report(),
        notes=(*selection.notes, *notes),
    )


def _parts(
    encoder: Encoder, generation: Generation, image: Image, regions: Sequence[Region], text: str
) -> dict[Part, list[NDArray[np.float32]]]:
    """What is compared: each region by its picture, and where there is a text by both together and by the text."""
    parts: dict[Part, list[NDArray[np.float32]]] = {"picture": _rows(region_vectors(encoder, image, regions))}
    if text:
        parts["text"] = [encoder.encode_texts([text])]
    if text and "fused" in generation.kinds:
        crops = [crop(image, region.box) for region in regions]
        parts["pair"] = _rows(encoder.encode_items(crops, [text] * len(crops)))
    return parts


def _rows(vectors: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [vectors[at : at + 1] for at in range(len(vectors))]


def _distinct(answers: Sequence[Answer], seen: Listings, overlap: float) -> tuple[list[Answer], int]:
    """Proposed regions without those that another one outdoes, in their order; and how many went.

    Of two that find the same product first and lie on each other, the one whose match is better stays. Listings of
    the very same product (SAME_AS) count as one product.
    """
    kept: list[int] = []
    for at in sorted(range(len(answers)), key=lambda at: -answers[at].best):
        one = answers[at]
        product = seen.identity(one.fused[0].product_id) if one.fused else None
        if one.region.score is None or not any(
            shared(one.region.box, other.region.box) > overlap
            and other.fused
            and seen.identity(other.fused[0].product_id) == product
            for other in (answers[k] for k in kept)
        ):
            kept.append(at)
    return [answers[at] for at in sorted(kept)], len(answers) - len(kept)


def _merged(answers: Sequence[Answer], request: InstancesRequest) -> list[Merged[str]]:
    if request.merge == "round_robin":
        lists = [([item.product_id for item in one.fused], [item.score for item in one.fused]) for one in answers]
    else:
        lists = [([item.product_id for item in one.own], [item.score for item in one.own]) for one in answers]
    return merge(lists, request.merge, request.merged_k)


def _joined(
    answers: Sequence[Answer], merged: Sequence[Merged[str]], cards: Listings, selection: Selection, text: str
) -> list[MergedHit]:
    """The merged list, each product as the instance that won it found it."""
    found = [{item.product_id: item for item in answer.fused} for answer in answers]
    joined: list[MergedHit] = []
    for entry in merged:
        item = replace(found[entry.source][entry.id], score=entry.score)
        for hit in hits(cards, [item], answers[entry.source].matched, selection, text=text):
            fields = {name: getattr(hit, name) for name in Hit.model_fields} | {"rank": len(joined) + 1}
            joined.append(MergedHit(**fields, instance=entry.source + 1))
    return joined
