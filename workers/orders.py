"""What users order of generations: build one with another encoder, measure it, let it follow, switch, audit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from encoders.evaluation import trec
from kg.errors import BadInput
from kg.gates import load_gates
from kg.stores import Stores
from kg.vectors import generations
from workers.jobs import Job, checkpoint_folder, submit

__all__ = [
    "Judged",
    "Use",
    "checked",
    "order_of",
    "submit_audit",
    "submit_evaluate",
    "submit_follow",
    "submit_reembed",
    "submit_switch",
]

Use = Literal["both", "text", "image"]
Switch = Literal["promote", "rollback", "retire"]


@dataclass(frozen=True)
class Judged:
    """What a generation is measured with. Paths are as the worker sees them, like that of a checkpoint.

    Attributes:
        queries, qrels: in the formats of `skugraph eval`.
        gates: JSON file of gates; empty for those of the settings.
        use: part of the queries to ask with; "both" takes what a query has.
        k: products found for each query.
    """

    queries: str
    qrels: str
    gates: str = ""
    use: Use = "both"
    k: int = 100


def checked(judged: Judged) -> Judged:
    """The same with absolute paths, its files read once: what is wrong with them is known before anything begins.

    Raises:
        BadInput: a file that is not there, or does not hold what it should; a part or a k that does not exist; no
            product that is relevant to any query; a judged query without the part to ask with.
    """
    if judged.use not in get_args(Use):
        raise BadInput(f"use = {judged.use!r}: one of {', '.join(get_args(Use))}", field="use")
    if not 1 <= judged.k <= 1000:
        raise BadInput(f"k = {judged.k}: from 1 to 1000", field="k")
    paths = {name: Path(getattr(judged, name)).expanduser().absolute() for name in ("queries", "qrels")}
    qrels = trec.read_qrels(paths["qrels"])
    queries = [query for query in trec.read_queries(paths["queries"]) if query.id in qrels]
    if not queries:
        raise BadInput(f"{paths['qrels']} judges none of the queries of {paths['queries']}")
    if not any(grade > 0 for query in queries for grade in qrels[query.id].values()):
        raise BadInput(f"{paths['qrels']}: no product has a grade above 0 for any of the queries of {paths['queries']}")
    for query in queries:
        if not (query.image if judged.use == "image" else query.text or judged.use == "both"):
            raise BadInput(f"query {query.id!r} of {paths['queries']} has no {judged.use} (use = {judged.use})")
    gates = str(Path(judged.gates).expanduser().absolute()) if judged.gates else ""
    if gates:
        load_gates(Path(gates))
    return Judged(str(paths["queries"]), str(paths["qrels"]), gates, judged.use, judged.k)


def submit_reembed(
    stores: Stores,
    encoder_path: str | Path,
    *,
    judged: Judged | None = None,
    promote: bool = False,
    by: str = "",
    estimated_s: float = 0.0,
) -> Job:
    """Build the generation of another encoder beside the live one, measure it if there is something to measure with,
    and promote it if that is wanted and its gates let it pass. An open job for the same is taken up again.
    `estimated_s` is what `workers.estimate` said that it will take; the job keeps it beside what it took.

    Raises:
        NotFound: no such folder.
        BadInput: the settings ask for regions, and the encoder has no detector; it is to be promoted, and nothing says
            how it is to be measured against the gates of the settings; see also `checked`.
        JobError: a job for the same encoder is open with other options.
        StoreDown: the graph or the broker does not answer.
    """
    folder = checkpoint_folder(stores, encoder_path)
    if gates := _gates(stores, judged):
        load_gates(gates)
        if promote and judged is None and generations.live_id(stores):
            raise BadInput(
                f"to be promoted it must be measured against the gates {gates} (generation_gates), with which queries?",
                hint="name queries and qrels, or promote it by hand later",
            )
    options = {"judged": asdict(checked(judged)) if judged else None, "promote": promote, "by": by}
    return submit(stores, "reembed", str(folder), options, estimated_s=estimated_s)


def order_of(stores: Stores, generation: str) -> dict[str, str]:
    """What a promotion finds when it is ordered (`replacing` and `since` of `kg.vectors.switching.promote`): noted, so
    that a job whose worker died does not take what came after it for what it was to replace.

    Raises:
        NotFound: no such generation.
    """
    return {"replacing": generations.live_id(stores), "since": generations.get(stores, generation).live_since}


def submit_evaluate(stores: Stores, generation: str, judged: Judged) -> Job:
    """Measure a generation against the live one.

    Raises:
        NotFound: no such generation.
        BadInput: it is the live one, not complete, or retired; see also `checked`.
        JobError, StoreDown: as `submit_reembed`.
    """
    found = generations.get(stores, generation)
    if found.state != "shadow":
        raise BadInput(f"generation {found.id} is {found.state}: only one in the shadow is measured against the live")
    if gates := _gates(stores, judged):
        load_gates(gates)
    return submit(stores, "evaluate", found.id, {"judged": asdict(checked(judged))})


def submit_follow(stores: Stores, generation: str) -> Job:
    """Embed what changed since the generation last did, as it was begun.

    Raises:
        NotFound: no such generation.
        BadInput: it is retired.
        StoreDown: as `submit_reembed`.
    """
    found = generations.get(stores, generation)
    if found.state == "retired":
        raise BadInput(f"generation {found.id} is retired", hint="`skugraph reembed --encoder DIR` builds it anew")
    return submit(stores, "follow", found.id)


def submit_audit(stores: Stores, *, repair: bool = False) -> Job:
    """Compare graph and vectors, and mend what differs if that is wanted.

    Raises:
        JobError, StoreDown: as `submit_reembed`.
    """
    return submit(stores, "audit", "stores", {"repair": repair})


def submit_switch(
    stores: Stores, action: Switch, generation: str = "", *, by: str = "", reason: str = "", force: bool = False
) -> Job:
    """Promote, roll back or retire in a worker.

    Raises:
        BadInput: an action that does not exist.
        NotFound: no such generation is there to be promoted.
        StoreDown: as `submit_reembed`.
    """
    if action not in get_args(Switch):
        raise BadInput(f"action = {action!r}: one of {', '.join(get_args(Switch))}", field="action")
    options: dict[str, Any] = {"by": by, "reason": reason, "force": force}
    if action == "rollback":  # done twice it would go forward again
        options["leaving"] = generations.live_id(stores)
    if action == "promote":  # done again after a rollback it would undo that
        options |= order_of(stores, generation)
    return submit(stores, "switch", f"{action} {generation}".strip(), options)


def _gates(stores: Stores, judged: Judged | None) -> Path | None:
    """Those of the settings, unless others are named: looked at when something is ordered, not after the back-fill."""
    return None if judged is not None and judged.gates else stores.settings.generation_gates
