"""Generations: the vectors of one encoder, one collection for each kind, and the alias that makes one of them live.

Which one is live is what the alias in the vector store says; the state in the graph follows it. How one takes the place
of another is in `kg.vectors.switching`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from kg import feed
from kg.errors import BadInput, EncoderMismatch, NotFound
from kg.graph.cypher.generations import (
    GENERATION,
    GENERATION_KINDS,
    GENERATION_REFILL,
    GENERATION_REGISTER,
    GENERATIONS,
)
from kg.graph.cypher.rules import STANDING
from kg.records import content_hash
from kg.settings import InstanceKind
from kg.stores import Stores
from kg.vectors.states import State, restart

__all__ = [
    "COMPARED",
    "Generation",
    "Part",
    "alias",
    "check_encoder",
    "collection",
    "generation_id",
    "get",
    "listing",
    "live",
    "live_id",
    "make",
    "noted",
    "register",
    "stale",
    "standing",
]


Part = Literal["picture", "text", "pair"]
COMPARED: dict[Part, tuple[InstanceKind, ...]] = {
    "picture": ("image",),
    "text": ("image", "text"),
    "pair": ("fused",),
}


@dataclass(frozen=True)
class Generation:
    """One encoder's vectors of the whole catalogue.

    Attributes:
        fingerprint: of the encoder; equal fingerprints give equal vectors.
        encoder_path: folder of the checkpoint, as last given.
        kinds: vector kinds, each with a collection; the first is the one the alias points at.
        state: building (first back-fill), shadow (complete, not searched), live, retired (its collections are gone).
        cursor: revision up to which the catalogue is embedded.
        regions: how the rows of regions were chosen, in the worker's words; empty where pictures have none.
        previous: of the one that it replaced when it became live; empty after a rollback.
        live_since: when it last became live, ISO; empty where it never was.
        evaluation: what its last evaluation found, JSON; empty before.
        edited: how often its rows were changed otherwise than by embedding what is after the cursor.
    """

    id: str
    encoder: str
    fingerprint: str
    encoder_path: str
    dim: int
    kinds: tuple[InstanceKind, ...]
    state: State
    cursor: int
    created_at: str
    regions: str = ""
    previous: str = ""
    live_since: str = ""
    evaluation: str = ""
    edited: int = 0

    def collections(self, prefix: str) -> dict[str, str]:
        """Kind → name of its collection."""
        return {kind: collection(prefix, self.id, kind) for kind in self.kinds}

    def first(self, prefix: str) -> str:
        """Name of the collection of its first kind: where any will do, to count or to time."""
        return collection(prefix, self.id, self.kinds[0])

    def suited(self, part: Part) -> list[InstanceKind]:
        """Kinds of vectors that a part of a question is compared with. A generation that keeps none of these is asked
        in what it has; only a pair, which stands beside its two parts, is left out then."""
        kinds = [kind for kind in COMPARED[part] if kind in self.kinds]
        return kinds or ([] if part == "pair" else list(self.kinds[:1]))

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"evaluation": json.loads(self.evaluation) if self.evaluation else None}


def collection(prefix: str, generation: str, kind: str) -> str:
    return f"{prefix}_{generation}_{kind}"


def alias(prefix: str) -> str:
    return f"{prefix}_live"


def check_encoder(generation: Generation, name: str, fingerprint: str) -> None:
    """Before anything embedded with that encoder meets the vectors of this generation.

    Raises:
        EncoderMismatch: it is not the encoder that made them; the message names both.
    """
    if fingerprint != generation.fingerprint:
        raise EncoderMismatch(
            f"encoder {name} with fingerprint {fingerprint} cannot be compared with generation {generation.id}, which "
            f"was embedded with {generation.encoder}, fingerprint {generation.fingerprint}, from "
            f"{generation.encoder_path}",
            hint="put that checkpoint back, or `skugraph reembed --encoder DIR` with the other one",
            generation=generation.id,
        )


def register(
    stores: Stores,
    *,
    encoder: str,
    fingerprint: str,
    encoder_path: str | Path,
    dim: int,
    kinds: tuple[InstanceKind, ...],
    regions: str = "",
) -> Generation:
    """The generation of this encoder, its collections made; a known fingerprint gives the one that exists, and one that
    was retired begins anew. One that has lost a collection begins anew too.

    `regions` identifies a generation as the fingerprint does: rows of regions chosen otherwise never mix.

    Raises:
        EncoderMismatch: the same fingerprint was registered with another dimension.
        BadInput: it exists with other kinds of vectors.
        BadVector: a collection of that name has another dimension.
    """
    [row] = stores.graph.write(
        GENERATION_REGISTER,
        id=generation_id(fingerprint, regions),
        encoder=encoder,
        fingerprint=fingerprint,
        encoder_path=str(encoder_path),
        dim=dim,
        kinds=list(kinds),
        regions=regions,
        now=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    generation = _generation(row["g"])
    if (generation.dim, generation.fingerprint, generation.regions) != (dim, fingerprint, regions):
        raise EncoderMismatch(
            f"generation {generation.id} belongs to encoder {generation.fingerprint} with {generation.dim} dimensions, "
            f"not to {fingerprint} with {dim}"
        )
    if generation.state == "retired":
        stores.graph.write(GENERATION_KINDS, id=generation.id, kinds=list(kinds))
        restart(stores.graph, generation.id, "retired")
    elif set(generation.kinds) != set(kinds):
        raise BadInput(
            f"generation {generation.id} of encoder {encoder} keeps the vectors {', '.join(generation.kinds)}, and "
            f"embed_kinds = {', '.join(kinds)}",
            hint=f"set it back; or, while another is live, `skugraph retire {generation.id}` and build it anew",
            field="embed_kinds",
        )
    return make(stores, generation.id)


def make(stores: Stores, generation: str) -> Generation:
    """Its collections made where they are missing. Where it has embedded something already it then begins with the
    first change: a live one stays live meanwhile, a shadow is building again.

    Raises:
        BadVector: a collection of that name has another dimension.
    """
    found = _noted(stores, generation)
    collections = set(found.collections(stores.vectors.prefix).values())
    # First the cursor: were this process to end in between, an empty generation would be taken for complete.
    if found.cursor and not collections <= set(stores.vectors.collections()):
        if found.state == "shadow":
            restart(stores.graph, found.id, "shadow")
        else:
            stores.graph.write(GENERATION_REFILL, id=found.id)
        found = _noted(stores, generation)
    for name in sorted(collections):
        stores.vectors.create(name, found.dim)
    return found


def generation_id(fingerprint: str, regions: str = "") -> str:
    """What the generation of this encoder, and of regions chosen so, is or would be called."""
    return f"g{(content_hash([fingerprint, regions]) if regions else fingerprint)[:10]}"


def live(stores: Stores) -> Generation | None:
    """The generation that searches use, None before the first is complete."""
    generation = live_id(stores)
    found = stores.graph.read(GENERATION, id=generation) if generation else []
    return replace(_generation(found[0]["g"]), state="live") if found else None


def standing(stores: Stores) -> tuple[Generation | None, int, int]:
    """The generation that searches use, the number of the catalogue's latest change, and how often rules were changed:
    what a search must know, by one question to each store."""
    [row] = stores.graph.read(STANDING, id=live_id(stores))
    generation = replace(_generation(row["g"]), state="live") if row["g"] else None
    return generation, int(row["revision"]), int(row["rules"])


def live_id(stores: Stores) -> str:
    """Id of the generation that the alias points at, empty where there is no alias."""
    target = stores.vectors.alias_target(alias(stores.vectors.prefix))
    return target.removeprefix(f"{stores.vectors.prefix}_").rpartition("_")[0] if target else ""


def get(stores: Stores, generation: str) -> Generation:
    """One generation.

    Raises:
        NotFound: no such id.
    """
    for found in listing(stores):
        if found.id == generation:
            return found
    raise NotFound(f"no generation {generation!r}", hint="`skugraph generations` lists them")


def listing(stores: Stores) -> list[Generation]:
    """Every generation, oldest first."""
    now_live = live_id(stores)
    return [_seen(found, now_live) for found in noted(stores)]


def noted(stores: Stores) -> list[Generation]:
    """Every generation as the graph has it, whatever the alias says."""
    return [_generation(row["g"]) for row in stores.graph.read(GENERATIONS)]


def _noted(stores: Stores, generation: str) -> Generation:
    [row] = stores.graph.read(GENERATION, id=generation)
    return _generation(row["g"])


def stale(stores: Stores, generation: Generation) -> int:
    """Changes of the catalogue that the generation has not embedded yet."""
    return feed.stale(stores.graph, generation.cursor)


def _seen(generation: Generation, now_live: str) -> Generation:
    """The state as the alias has it: a crash between flip and note leaves the graph behind."""
    if generation.id == now_live:
        return replace(generation, state="live")
    return replace(generation, state="shadow") if generation.state == "live" else generation


def _generation(row: dict[str, Any]) -> Generation:
    values = {name: row[name] for name in Generation.__dataclass_fields__ if row.get(name) is not None}
    return Generation(**values | {"kinds": tuple(row["kinds"])})
