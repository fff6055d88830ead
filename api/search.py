"""What searches share: the stores, warm encoders, vectors of earlier questions; and the lists that they are made of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice

from api import planner
from api.around import LIST
from api.batch import DEPTH, answers
from api.clock import Clock
from api.encoding import Encodings
from api.entity_space import EntitySpace, graph_encoder
from api.fusion import Ranked
from api.lists import VectorList
from api.models import PlanCost, PlanReport, SearchReply, SearchRequest
from api.planner import Plan
from api.plans import Ask
from api.rules import RuleBook
from api.understanding import EntityFinder
from encoders.protocol import Encoder
from kg.errors import SkugraphError
from kg.graph import selection as graph_side
from kg.graph.selection import Selection
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.generations import Generation

__all__ = ["DEPTH", "Searcher"]

Place = tuple[int, str]  # of a list: which search, and its name there


class Searcher:
    """Answers searches over one pair of stores; threads may share it.

    Args:
        stores: both stores, open.
        load_encoder: checkpoint folder → encoder; called once for each generation that becomes live.
    """

    def __init__(self, stores: Stores, load_encoder: Callable[[str], Encoder]) -> None:
        self.stores, self.load_encoder = stores, load_encoder
        self.finder = EntityFinder(stores, EntitySpace(stores, graph_encoder(stores.settings)).near)
        settings = stores.settings
        self.encodings = Encodings(
            max_bytes=int(settings.encode_cache_mb * 1e6), max_pixels=int(settings.picture_max_megapixels * 1e6)
        )
        self.rules = RuleBook(stores)
        self._stale: tuple[tuple[str, int, int], int] = ("", 0, 0), 0
        self._encoders: dict[str, Encoder] = {}
        self._lock = threading.Lock()

    def search(self, request: SearchRequest, *, rules: bool = True) -> SearchReply:
        """The k best products inside the filters; fewer only where there are no more.

        Args:
            request: what is asked.
            rules: keep what `kg.rules` pins, buries and excludes.

        Raises:
            BadInput: k above the setting `search_max_k`, a weight for a list that this search does not make, a forced
                plan that would be wrong, vectors of a kind that the generation does not keep, or entities for an
                encoder that takes none.
            BadFilter, BadQuery, TooLarge: see `kg.graph.resolving.select`.
            BadPicture, TooLarge: see `api.lists.picture`.
            NotFound: no such product to be like, it has no vectors, or there is no generation to compare pictures in,
                or to read entities.
            EncoderMismatch: the checkpoint of the live generation is not the one that its vectors were made with.
            StoreDown: a store does not answer.
        """
        [answer] = answers(self, [request], rules=rules)
        if isinstance(answer, SkugraphError):
            raise answer
        return answer

    def live(self) -> tuple[Generation | None, int]:
        """The generation to search, and how many changes of the catalogue it has not embedded yet."""
        return self.standing()[:2]

    def standing(self) -> tuple[Generation | None, int, int, int]:
        """These two, the version of the rules, and the revision of the catalogue. Changes are counted once for each
        state of it."""
        generation, revision, rules = generations.standing(self.stores)
        if generation is None or generation.cursor >= revision:
            return generation, 0, rules, revision
        at = (generation.id, generation.cursor, revision)
        known, count = self._stale
        if known != at:  # not under a lock: at worst two threads count the same
            count = generations.stale(self.stores, generation)
            self._stale = at, count
        return generation, count, rules, revision

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
        found = self.nearest(plan, selection, {(0, name): one for name, one in lists.items()}, depth, clock, exclude)
        ranked = {name: answer for (_, name), answer in found.items()}
        if words:
            with clock("lexical"):
                rows = self.lexical(selection, words, depth + len(exclude))
                ranked["lexical"] = [[item for item in rows if item.product_id not in exclude][:depth]]
        return ranked

    def nearest(
        self,
        plan: Plan,
        selection: Selection,
        lists: Mapping[Place, VectorList],
        depth: int,
        clock: Callable[[str], AbstractContextManager[None]],
        exclude: frozenset[str] = frozenset(),
    ) -> dict[Place, list[list[Ranked]]]:
        """A list of the `depth` best for each question of `lists`; those of one collection are asked for together.

        Args:
            plan: for all of them.
            selection: what admits.
            lists: by (number of the search, name).
            depth: products of each.
            clock: times a step, which is called by the names of its lists.
            exclude: products that are not wanted.
        """
        together: dict[str, list[Place]] = {}
        for place, one in lists.items():
            together.setdefault(one.collection, []).append(place)
        found: dict[Place, list[list[Ranked]]] = {}
        for collection, places in together.items():
            with clock("+".join(dict.fromkeys(name for _, name in places))):
                questions = tuple(question for place in places for question in lists[place].questions)
                ask = Ask(self.stores.vectors, collection, questions, depth, exclude)
                each = iter(planner.run(self.stores, plan, selection, ask))
                found |= {place: list(islice(each, len(lists[place].questions))) for place in places}
        return {place: found[place] for place in lists}

    def lexical(self, selection: Selection, words: str, depth: int) -> list[Ranked]:
        """The `depth` best by the full-text index."""
        return [Ranked(id, "", score) for id, score in graph_side.words(self.stores.graph, selection, words, depth)]

    def exact(self, plan: Plan) -> bool:
        """True where no approximate index has a say."""
        return plan.name in ("exact", "resident", "lexical", "browse") or self.stores.vectors.engine == "milvus_lite"

    def explanation(
        self,
        plan: Plan,
        selection: Selection,
        names: Sequence[str],
        generation: Generation | None = None,
        *,
        k: int = DEPTH,
        spent: Mapping[str, float] | None = None,
    ) -> PlanReport:
        """Why this plan, among how many products, for which lists; with a generation also what others would cost.

        Args:
            plan: that was taken.
            selection: what admits.
            names: of the lists.
            generation: that was searched.
            k: products of each list.
            spent: ms by step.
        """
        size, exact = plan.candidates, plan.candidates_exact
        if size is None:
            limit = self.stores.settings.ids_max + 1
            size = self.stores.statistics.count(selection, limit)
            exact = size < limit or selection.everything
        vectors = [name for name in names if name not in ("lexical", LIST)]
        costs: Sequence[PlanCost] = ()
        if generation is not None and vectors:
            costs = planner.considered(self.stores, plan, size, generation, len(vectors), k)
        steps = [ms for step, ms in (spent or {}).items() if step == "plan" or set(step.split("+")) <= set(vectors)]
        return PlanReport(
            why=plan.why,
            candidates=size,
            candidates_exact=exact,
            expression=plan.expression,
            lists=tuple(names),
            alternatives=tuple(costs),
            actual_ms=round(sum(steps), 2) if costs and spent else None,
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
