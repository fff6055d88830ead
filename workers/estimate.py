"""What a re-embedding will take, before anything of it is made: items, seconds, bytes; and whether that is too much."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from encoders.protocol import Encoder
from kg import feed
from kg.catalogue.pictures import Pictures
from kg.errors import TooLarge
from kg.feed import Change, changes, stale
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.schema import VECTOR, complete
from kg.vectors.states import State
from workers.device import encoder_at
from workers.embedding import Chunk, embed_chunks
from workers.jobs import checkpoint_folder, list_jobs
from workers.rows import RegionRule, region_rule

__all__ = ["Estimate", "check_budget", "estimate"]

PLACES, EACH = 4, 6  # the sample: so many products at each of so many places of the catalogue
NUMBER_BYTES, FLOAT_BYTES = 8, 4
EDGE_BYTES, EDGES = 4, 2 * 16  # of one row in the graph index that a server has (M = 16, its lowest layer)


class Estimate(BaseModel):
    """What there is to do, and what it will take."""

    model_config = ConfigDict(frozen=True)

    generation: str = Field(description="Id that it has or will have")
    state: State | Literal["new"]
    encoder: str
    fingerprint: str
    dim: int
    products: int = Field(description="Changes to embed")
    vectors: int = Field(description="Rows that they make")
    seconds: float = Field(description="Of one worker that does nothing else")
    bytes: int = Field(
        description="Of the rows, and on a server of their index; what the store keeps besides is not in it"
    )
    rate: float = Field(description="Products a second")
    measured: str = Field(description="What the rate was measured by")


def estimate(stores: Stores, encoder_path: str | Path) -> Estimate:
    """Nothing is written anywhere. The rate is that of the last job that embedded for this generation where it did
    enough, else that of a sample, embedded here and now by the same code as in a worker.

    Raises:
        NotFound: no such folder.
        BadInput: a checkpoint that cannot be opened, or regions without a detector.
        StoreDown: a store does not answer.
    """
    settings, folder = stores.settings, checkpoint_folder(stores, encoder_path)
    encoder = encoder_at(folder, settings)
    rule = region_rule(encoder, settings.embed_regions, settings.embed_region_score)
    name = generations.generation_id(encoder.fingerprint, rule.key if rule else "")
    known = next((one for one in generations.listing(stores) if one.id == name), None)
    cursor = known.cursor if known and known.state != "retired" else 0
    products = stale(stores.graph, cursor)
    sample = _sample(stores, encoder, rule, cursor)
    rate, measured = _job_rate(stores, name) or (sample.rate, f"a sample of {sample.products} products")
    vectors = round(products * sample.vectors / sample.products) if sample.products else 0
    index = 0 if stores.vectors.engine == "milvus_lite" else EDGE_BYTES * EDGES
    return Estimate(
        generation=name,
        state=known.state if known else "new",
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        dim=encoder.dim,
        products=products,
        vectors=vectors,
        seconds=products / rate if rate else 0.0,
        bytes=round(vectors * (sample.bytes / sample.vectors + index)) if sample.vectors else 0,
        rate=rate,
        measured=measured,
    )


def check_budget(
    found: Estimate,
    *,
    seconds: float | None = None,
    bytes: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Raises:
    TooLarge: it would take longer, or need more room, than it may.
    """
    if seconds is not None and found.seconds > seconds:
        raise TooLarge(
            f"re-embedding {found.products:,} products would take {found.seconds:,.1f} s, and may take {seconds:,.1f} "
            f"({found.rate:,.1f} a second by {found.measured})",
            hint="allow more (--max-seconds, or the setting reembed_max_seconds), or embed on a faster device",
            field="max_seconds",
        )
    if bytes is not None and found.bytes > bytes:
        raise TooLarge(
            f"re-embedding makes {found.vectors:,} vectors of {found.dim} dimensions, {found.bytes:,} bytes, and may "
            f"make {bytes:,}",
            hint="allow more (--max-bytes, or the setting reembed_max_bytes), or retire a generation",
            field="max_bytes",
        )


@dataclass
class _Sample:
    """Takes the place of the vector store (`workers.embedding.Rows`): rows are counted and forgotten."""

    products: int = 0
    vectors: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return self.products / self.seconds if self.seconds else 0.0

    def upsert(self, collection: str, rows: Sequence[dict[str, Any]]) -> int:
        self.vectors += len(rows)
        self.bytes += sum(map(_bytes, rows))
        return len(rows)

    def delete_products(self, collection: str, ids: Iterable[str], *, keep: Iterable[str] = ()) -> int:
        return 0

    def rows(self, collection: str, product_ids: Iterable[str], fields: Sequence[str]) -> list[dict[str, Any]]:
        return []


def _sample(stores: Stores, encoder: Encoder, rule: RegionRule | None, cursor: int) -> _Sample:
    """Products of several places of what is to be embedded; the first few are done before the clock starts."""
    last = feed.revision(stores.graph)
    places = [cursor + (last - cursor) * n // PLACES for n in range(PLACES)]
    found = {one.id: one for place in places for one in changes(stores.graph, place, EACH) if not one.removed}
    products = list(found.values())
    if not products:
        return _Sample()
    _embed(stores, encoder, rule, products[:2])
    return _embed(stores, encoder, rule, products)


def _embed(stores: Stores, encoder: Encoder, rule: RegionRule | None, products: Sequence[Change]) -> _Sample:
    sink, began = _Sample(products=len(products)), time.perf_counter()
    with closing(Pictures.from_settings(stores.settings)) as pictures:
        embed_chunks(
            [Chunk(0, products)],
            encoder,
            sink,
            {kind: kind for kind in stores.settings.embed_kinds},
            pictures,
            batch=stores.settings.encode_batch,
            commit=lambda chunk, rejects: True,
            regions=rule,
        )
    sink.seconds = time.perf_counter() - began
    return sink


def _bytes(row: Mapping[str, Any]) -> int:
    """Of one row as it is stored: floats of the vector, the letters of texts, numbers."""
    total = 0
    for name, value in complete(row).items():
        if name == VECTOR:
            total += FLOAT_BYTES * len(value)
        elif isinstance(value, str):
            total += len(value.encode())
        elif isinstance(value, list):
            total += sum(len(text.encode()) for text in value)
        else:
            total += NUMBER_BYTES
    return total


def _job_rate(stores: Stores, generation: str) -> tuple[float, str] | None:
    for job in list_jobs(stores):
        if job.generation == generation and job.kind in ("embed", "reembed", "follow") and job.done >= PLACES * EACH:
            return job.rate, f"job {job.id}"
    return None
