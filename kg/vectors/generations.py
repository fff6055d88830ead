"""Generations: the vectors of one encoder, one collection for each kind, and the alias that makes one of them live.

Which one is live is what the alias in the vector store says; the state in the graph follows it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from kg import feed
from kg.errors import BadInput, EncoderMismatch, NotFound
from kg.graph.cypher.generations import GENERATION, GENERATION_LIVE, GENERATION_REGISTER, GENERATIONS
from kg.records import content_hash
from kg.settings import InstanceKind
from kg.stores import Stores

__all__ = ["Generation", "alias", "collection", "get", "listing", "live", "promote", "register", "stale"]


@dataclass(frozen=True)
class Generation:
    """One encoder's vectors of the whole catalogue.

    Attributes:
        fingerprint: of the encoder; equal fingerprints give equal vectors.
        encoder_path: folder of the checkpoint, as last given.
        kinds: vector kinds, each with a collection; the first is the one the alias points at.
        state: building (first back-fill), shadow (complete, not searched), live, retired.
        cursor: revision up to which the catalogue is embedded.
        regions: how the rows of regions were chosen, in the worker's words; empty where pictures have none.
    """

    id: str
    encoder: str
    fingerprint: str
    encoder_path: str
    dim: int
    kinds: tuple[InstanceKind, ...]
    state: Literal["building", "shadow", "live", "retired"]
    cursor: int
    created_at: str
    regions: str = ""

    def collections(self, prefix: str) -> dict[str, str]:
        """Kind → name of its collection."""
        return {kind: collection(prefix, self.id, kind) for kind in self.kinds}

    def json(self) -> dict[str, Any]:
        return asdict(self)


def collection(prefix: str, generation: str, kind: str) -> str:
    return f"{prefix}_{generation}_{kind}"


def alias(prefix: str) -> str:
    return f"{prefix}_live"


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
    """The generation of this encoder, its collections made; a known fingerprint gives the one that exists.

    `regions` identifies a generation as the fingerprint does: rows of regions chosen otherwise never mix.

    Raises:
        EncoderMismatch: the same fingerprint was registered with another dimension.
        BadVector: a collection of that name has another dimension.
    """
    identity = content_hash([fingerprint, regions]) if regions else fingerprint
    [row] = stores.graph.write(
        GENERATION_REGISTER,
        id=f"g{identity[:10]}",
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
    for name in generation.collections(stores.vectors.prefix).values():
        stores.vectors.create(name, dim)
    return generation


def live(stores: Stores) -> Generation | None:
    """The generation that searches use, None before the first is complete."""
    generation = _live_id(stores)
    found = stores.graph.read(GENERATION, id=generation) if generation else []
    return replace(_generation(found[0]["g"]), state="live") if found else None


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
    now_live = _live_id(stores)
    return [_seen(_generation(row["g"]), now_live) for row in stores.graph.read(GENERATIONS)]


def promote(stores: Stores, generation: str) -> Generation:
    """Let searches use this generation from now on: one atomic flip of the alias, then the graph notes it.

    Raises:
        NotFound: no such id, or its collections are gone.
        BadInput: its first back-fill is not complete.
    """
    chosen = get(stores, generation)
    if chosen.state == "building":
        raise BadInput(
            f"generation {chosen.id} is still building: {stale(stores, chosen)} changes are not embedded",
            hint="`skugraph jobs` shows how far it is",
        )
    stores.vectors.point_alias(
        alias(stores.vectors.prefix), collection(stores.vectors.prefix, chosen.id, chosen.kinds[0])
    )
    stores.graph.write(GENERATION_LIVE, id=chosen.id)
    return replace(chosen, state="live")


def stale(stores: Stores, generation: Generation) -> int:
    """Changes of the catalogue that the generation has not embedded yet."""
    return feed.stale(stores.graph, generation.cursor)


def _live_id(stores: Stores) -> str:
    target = stores.vectors.alias_target(alias(stores.vectors.prefix))
    return target.removeprefix(f"{stores.vectors.prefix}_").rpartition("_")[0] if target else ""


def _seen(generation: Generation, now_live: str) -> Generation:
    """The state as the alias has it: a crash between flip and note leaves the graph behind."""
    if generation.id == now_live:
        return replace(generation, state="live")
    return replace(generation, state="shadow") if generation.state == "live" else generation


def _generation(row: dict[str, Any]) -> Generation:
    values = {name: row[name] for name in Generation.__dataclass_fields__ if row.get(name) is not None}
    return Generation(**values | {"kinds": tuple(row["kinds"])})
