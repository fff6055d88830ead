"""How one generation takes the place of another: promote, roll back, retire, and repair after a crash in between.

The alias in the vector store is the truth. It is flipped first, in one atomic step, and the graph notes it after; a
process that dies between the two leaves the graph behind, and `settle` (at the start of the API and of every worker, in
each of these commands and in the audit) makes it follow, by what was written down before the flip. One lock in the
graph keeps them apart, so that of two promotions at once the second finds that another generation is live than it was
to replace, and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kg.errors import BadInput, GateClosed, JobError, NotFound
from kg.gates import Gates, load_gates, standing
from kg.graph.cypher.generations import (
    GENERATION_COMING,
    GENERATION_COMING_SET,
    GENERATION_JOBS,
    GENERATION_LIVE,
)
from kg.graph.driver import Tx
from kg.graph.locks import Held, held
from kg.stores import Stores
from kg.vectors.events import Event, note
from kg.vectors.generations import Generation, alias, collection, get, live_id, noted, stale
from kg.vectors.states import check, move

__all__ = ["missing_collections", "promote", "restore", "retire", "rollback", "settle"]

LOCK = "generations"


def promote(
    stores: Stores,
    generation: str,
    *,
    by: str = "",
    reason: str = "",
    force: bool = False,
    replacing: str | None = None,
    since: str | None = None,
) -> Generation:
    """Let searches use this generation from now on: one atomic flip of the alias, then the graph notes it.

    Args:
        stores: both.
        generation: its id; one that is live already is left alone.
        by: who wants it, for the audit trail.
        reason: why.
        force: also below its gates, or without an evaluation; takes a reason.
        replacing: the generation that is live in the eyes of who asks; None for the one that is live now.
        since: when it last became live, in the eyes of who asks: an order that was carried out and then taken back is
            not carried out again. None where it cannot come twice.

    Raises:
        NotFound: no such id.
        BadInput: its first back-fill is not complete, or force without a reason.
        GateClosed: gates are set, and it was not evaluated against the live generation, or stays below one of them.
        JobError: another promotion came first; it became live after `since` and is so no more; it has lost a
            collection; it lacks changes that cannot be caught up with, because its checkpoint is gone or, where another
            is live, they are more than `rollback_max_stale`.
    """
    before = live_id(stores) if replacing is None else replacing
    if force:
        _reasoned("force", reason)
    with _alone(stores) as (lock, known):
        chosen, old = _known(known, generation), _live(known)
        if chosen.state == "live":
            return chosen
        if since is not None and chosen.live_since != since:
            raise JobError(
                f"generation {chosen.id} became live at {chosen.live_since}, after this order, and was left again",
                hint=f"`skugraph promote {chosen.id}` if it is to be live again",
            )
        if (old.id if old else "") != before:
            raise JobError(
                f"generation {chosen.id} was to replace {before or 'none'}, but {old.id if old else 'none'} is live by "
                "now: another promotion came first",
                hint="`skugraph generations` shows what there is",
            )
        if chosen.state == "building":
            raise BadInput(
                f"generation {chosen.id} is still building: {stale(stores, chosen)} changes are not embedded",
                hint="`skugraph jobs` shows how far it is",
            )
        check(chosen.id, chosen.state, "live")
        _whole(stores, chosen, "promotion", most=stores.settings.rollback_max_stale if old else None)
        closed = _closed(stores, chosen, old)
        if closed and not force:
            raise GateClosed(
                f"generation {chosen.id} is not promoted: {closed}",
                hint="`skugraph generations evaluate` measures it; `--force --reason TEXT` promotes it all the same",
                generation=chosen.id,
            )
        figures = _figures(chosen)
        event = Event("promote", chosen.id, old.id if old else "", by, reason, forced=bool(closed), figures=figures)
        return _flip(stores, lock, chosen, event, previous=old.id if old else "")


def rollback(stores: Stores, *, by: str = "", reason: str = "", leaving: str = "") -> Generation:
    """Let searches use the generation that was live before the present one; once, then there is nothing to go back to.

    Args:
        stores: both.
        by: who wants it, for the audit trail.
        reason: why.
        leaving: the generation that is live in the eyes of who asks; where it was left already, nothing happens. Empty
            for the one that is live now.

    Raises:
        JobError: none was live before; it is gone; it lacks changes that cannot be caught up with, because its
            checkpoint is gone or they are more than `rollback_max_stale`; or another than `leaving` is live.
    """
    with _alone(stores) as (lock, known):
        now = _live(known)
        if leaving and now is not None and now.id != leaving:
            if leaving in known and known[leaving].previous == now.id:
                return now
            raise JobError(
                f"generation {leaving} was to be left, but {now.id} is live by now: another change came first",
                hint="`skugraph generations` shows what there is",
            )
        if now is None or not now.previous:
            raise JobError("there is no generation to roll back to", hint="`skugraph promote ID` names one")
        old = known.get(now.previous)
        if old is None or old.state == "retired":
            state = "unknown" if old is None else old.state
            raise JobError(f"generation {now.previous}, live before {now.id}, is {state}: there is no way back to it")
        check(old.id, old.state, "live")
        _whole(stores, old, "rollback", most=stores.settings.rollback_max_stale)
        return _flip(stores, lock, old, Event("rollback", old.id, now.id, by, reason), previous="")


def retire(stores: Stores, generation: str, *, by: str = "", reason: str = "", force: bool = False) -> Generation:
    """Drop the collections of a generation; what the graph knows of it stays. One that is retired stays so.

    Raises:
        NotFound: no such id.
        BadInput: it is live; it is what a rollback would go back to, without `force`; or force without a reason.
        JobError: a job is filling it.
    """
    if force:
        _reasoned("force", reason)
    with _alone(stores) as (lock, known):
        chosen, now = _known(known, generation), _live(known)
        if chosen.state == "live":
            raise BadInput(f"generation {chosen.id} is live: it cannot be retired", hint="promote another first")
        guarded = now is not None and now.previous == chosen.id
        if guarded and not force:
            raise BadInput(
                f"generation {chosen.id} is what a rollback goes back to",
                hint="`--force --reason TEXT` retires it, and then there is no way back",
            )
        open_jobs = stores.graph.read(GENERATION_JOBS, id=chosen.id, states=["queued", "running", "paused"])
        if open_jobs:
            raise JobError(
                f"job {open_jobs[0]['id']} is {open_jobs[0]['state']} on generation {chosen.id}",
                hint=f"`skugraph jobs {open_jobs[0]['id']} --cancel`",
            )
        if chosen.state != "retired":
            event = Event("retire", chosen.id, by=by, reason=reason, forced=guarded)
            before = chosen.state

            def work(tx: Tx) -> bool:
                if moved := move(tx, chosen.id, before, "retired"):
                    note(tx, event)
                return moved

            lock.check()
            if not stores.graph.transaction(work):
                raise JobError(f"generation {chosen.id} is not {before} any more: it changed meanwhile")
        for name in chosen.collections(stores.vectors.prefix).values():
            stores.vectors.drop(name)
        return get(stores, generation)


def settle(stores: Stores) -> bool:
    """Let the graph follow the alias, where a crash came between the two; whether it had to."""
    if not _unsettled(live_id(stores), noted(stores)):
        return False
    with held(stores.graph, LOCK):
        return _settle(stores, live_id(stores), noted(stores))


def restore(stores: Stores, generation: str) -> bool:
    """Point a lost alias at the generation that the graph says is live, if all its collections are there; whether the
    alias is right now, be it that another has seen to it meanwhile."""
    prefix = stores.vectors.prefix
    with held(stores.graph, LOCK) as lock:
        target, known = stores.vectors.alias_target(alias(prefix)), noted(stores)
        if target in {name for one in known for name in one.collections(prefix).values()}:
            return stores.vectors.exists(str(target))
        chosen = next((one for one in known if one.id == generation and one.state == "live"), None)
        if chosen is None or missing_collections(stores, chosen):
            return False
        event = Event("repair", chosen.id, by="skugraph", reason="the alias was lost; the graph had it live")
        _flip(stores, lock, chosen, event, previous=chosen.previous)
        return True


def missing_collections(stores: Stores, generation: Generation) -> list[str]:
    """Those of its collections that the vector store does not have."""
    there = set(stores.vectors.collections())
    return sorted(set(generation.collections(stores.vectors.prefix).values()) - there)


@contextmanager
def _alone(stores: Stores) -> Iterator[tuple[Held, dict[str, Generation]]]:
    """The lock, and every generation by id, the graph being made to follow the alias before."""
    with held(stores.graph, LOCK) as lock:
        now, found = live_id(stores), noted(stores)
        if _settle(stores, now, found):
            found = noted(stores)
        # Where the alias is lost nothing is live, whatever the graph says.
        lost = {one.id: replace(one, state="shadow") for one in found if one.state == "live" and one.id != now}
        yield lock, {one.id: lost.get(one.id, one) for one in found}


def _known(known: Mapping[str, Generation], generation: str) -> Generation:
    if generation not in known:
        raise NotFound(f"no generation {generation!r}", hint="`skugraph generations` lists them")
    return known[generation]


def _live(known: Mapping[str, Generation]) -> Generation | None:
    return next((one for one in known.values() if one.state == "live"), None)


def _whole(stores: Stores, chosen: Generation, what: str, *, most: int | None) -> None:
    """`most`: changes that it may lack; None for any number, where there is nothing better.

    Raises:
        JobError: searches cannot use it next; see `promote` and `rollback`.
    """
    if gone := missing_collections(stores, chosen):
        raise JobError(
            f"generation {chosen.id} has lost its collections {', '.join(gone)}",
            hint="`skugraph audit --repair` fills them anew",
        )
    behind = stale(stores, chosen)
    if most is not None and behind > most:
        raise JobError(
            f"generation {chosen.id} lacks {behind:,} changes; a {what} takes at most {most:,} (rollback_max_stale)",
            hint="`skugraph embed` catches up with them",
        )
    if behind and not Path(chosen.encoder_path).is_dir():
        raise JobError(
            f"generation {chosen.id} lacks {behind:,} changes, and its checkpoint {chosen.encoder_path} is gone: it "
            "could never catch up",
            hint="put the checkpoint back",
        )


def _unsettled(now: str, found: Sequence[Generation]) -> bool:
    """Whether the alias points at a generation of which the graph does not say that it, and it alone, is live."""
    known = {one.id for one in found}
    return now in known and [one.id for one in found if one.state == "live"] != [now]


def _settle(stores: Stores, now: str, found: Sequence[Generation]) -> bool:
    if not _unsettled(now, found):
        return False
    old = next((one.id for one in found if one.state == "live"), "")
    coming = stores.graph.read(GENERATION_COMING, id=now)[0]["coming"]
    reason = f"the alias points at {now}; the graph had {old or 'none'}"
    _note_live(stores, now, Event("repair", now, old, "skugraph", reason), previous=old if coming is None else coming)
    return True


def _flip(stores: Stores, lock: Held, chosen: Generation, event: Event, *, previous: str) -> Generation:
    prefix = stores.vectors.prefix
    stores.graph.write(GENERATION_COMING_SET, id=chosen.id, previous=previous)
    lock.check()
    stores.vectors.point_alias(alias(prefix), collection(prefix, chosen.id, chosen.kinds[0]))
    _note_live(stores, chosen.id, event, previous=previous)
    return replace(chosen, state="live", previous=previous, live_since=event.at)


def _note_live(stores: Stores, generation: str, event: Event, *, previous: str) -> None:
    def work(tx: Tx) -> None:
        tx.run(GENERATION_LIVE, id=generation, previous=previous, now=event.at)
        note(tx, event)

    stores.graph.transaction(work)


def _closed(stores: Stores, chosen: Generation, old: Generation | None) -> str:
    """What keeps the gates shut, in words; empty where they are open, or nothing is live to be compared with."""
    if old is None:
        return ""
    path = stores.settings.generation_gates
    gates: Gates | None = load_gates(path) if path else None
    return standing(gates, json.loads(chosen.evaluation) if chosen.evaluation else None, against=old.id)


def _figures(chosen: Generation) -> dict[str, Any]:
    """Of its evaluation, the part that a decision rests on."""
    found = json.loads(chosen.evaluation) if chosen.evaluation else {}
    return {name: found[name] for name in ("at", "against", "queries", "metrics", "passed", "failed") if name in found}


def _reasoned(what: str, reason: str) -> None:
    if not reason.strip():
        raise BadInput(f"{what} takes a reason: it is written into the audit trail", field="reason")
