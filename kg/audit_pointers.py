"""The part of the audit (`kg.audit`) that looks at what points at what: alias, generations, collections, encoders."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kg.errors import SkugraphError
from kg.faults import Fault, Report
from kg.graph.cypher.generations import GENERATION_JOBS
from kg.stores import Stores
from kg.vectors import generations, switching
from kg.vectors.generations import Generation

__all__ = ["look_at_alias", "look_at_collections"]

# A failed or cancelled job can be resumed: what it built is no left-over.
JOB_STATES = ["queued", "running", "paused", "failed", "cancelled"]


def look_at_alias(stores: Stores, report: Report, repair: bool) -> None:
    """Does it point at a generation that is known, and does the graph say the same?"""
    target = stores.vectors.alias_target(generations.alias(stores.vectors.prefix))
    there, noted = set(stores.vectors.collections()), generations.noted(stores)
    known = {name: one for one in noted for name in one.collections(stores.vectors.prefix).values()}
    live = next((one for one in noted if one.state == "live"), None)
    if target is None and live is None:
        return  # nothing is live yet
    if target is None or target not in there or target not in known:
        points = f"points at {target}, which is not known" if target else "is not there"
        mended = repair and live is not None and switching.restore(stores, live.id)
        report.add(Fault("alias", live.id if live else "", f"alias {points}", _says(live), mended))
    elif live is None or live.id != known[target].id:
        mended = repair and switching.settle(stores)
        report.add(Fault("unsettled", known[target].id, f"alias points at {target}", _says(live), mended))


def _says(live: Generation | None) -> str:
    return f"the graph says that {live.id if live else 'none'} is live"


def look_at_collections(stores: Stores, report: Report, repair: bool) -> None:
    """Has each generation its collections, of its dimension; and each collection a generation that is kept?"""
    prefix = stores.vectors.prefix
    there, listed = set(stores.vectors.collections()), generations.listing(stores)
    for one in listed:
        if one.state == "retired":
            continue
        if one.state == "building" and not stores.graph.read(GENERATION_JOBS, id=one.id, states=JOB_STATES):
            mended = repair and _done(partial(switching.retire, stores, one.id, by="audit", reason="left over"))
            report.add(Fault("left_over", one.id, f"generation {one.id} is half-built", "no job builds it", mended))
            continue
        for name in one.collections(prefix).values():
            if name not in there:
                mended = repair and _done(partial(generations.make, stores, one.id))
                report.add(Fault("no_collection", one.id, f"collection {name}", "it is gone", mended))
            elif (dim := stores.vectors.dim(name)) != one.dim:
                why = f"it holds {dim} dimensions, the encoder {one.encoder} gives {one.dim}"
                report.add(Fault("wrong_encoder", one.id, f"collection {name}", why))
        if (found := _fingerprint(one)) not in ("", one.fingerprint):
            why = f"it has fingerprint {found}, the vectors were made with {one.fingerprint}"
            report.add(Fault("wrong_encoder", one.id, f"checkpoint {one.encoder_path}", why))
    # First the collections: one that is made meanwhile is not among them, and its generation was there before it.
    there = set(stores.vectors.collections())
    wanted = {name for one in generations.noted(stores) if one.state != "retired" for name in _names(one, prefix)}
    ours = re.compile(rf"{re.escape(prefix)}_g[0-9a-f]{{10}}_(image|text|fused)")
    for name in sorted(there):
        if ours.fullmatch(name) and name not in wanted:
            mended = repair and _done(partial(stores.vectors.drop, name))
            report.add(Fault("no_generation", "", f"collection {name}", "no generation that is kept has it", mended))


def _names(generation: Generation, prefix: str) -> list[str]:
    return list(generation.collections(prefix).values())


def _fingerprint(generation: Generation) -> str:
    """What the checkpoint says of itself; nothing where it is gone, or does not say."""
    try:
        return (Path(generation.encoder_path) / "fingerprint").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _done(work: Callable[[], object]) -> bool:
    """Whether it could be done; a guard may be in the way."""
    try:
        work()
    except SkugraphError:
        return False
    return True
