"""A table and its pictures into the graph: streamed, so memory does not grow with the file.

Rows pass in chunks of `batch_rows`. The graph says which of them it holds unchanged; only of the others are the
pictures read, by a few threads, while the chunk before is being written. A row that breaks a rule goes to the rejects
file and the rest goes on. Each chunk is one transaction: killed anywhere and run again, the same graph comes out.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

from kg.catalogue.columns import ColumnMap
from kg.catalogue.pictures import WEB, Pictures
from kg.catalogue.readers import Row, read_rows, table_columns
from kg.catalogue.seen import Seen
from kg.catalogue.writing import Listing, known, put, remove, touch
from kg.dictionary import Mining, Recognise
from kg.entities import match_phrases, prune_entities
from kg.errors import BadInput, BadPicture, BadRecord, TooLarge
from kg.graph.cypher.catalogue import IDS
from kg.records import Product, content_hash
from kg.stores import Stores

__all__ = ["IngestReport", "ingest"]


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of the rows; `seconds` and rows/s count everything.

    Attributes:
        written: new products.
        unchanged: held as they are, also a row that repeats an earlier one.
        removed: absent from the file (`sync` only).
        sync_skipped: nothing was removed, because of some rejected row the id could not be read.
    """

    read: int = 0
    written: int = 0
    unchanged: int = 0
    updated: int = 0
    rejected: int = 0
    removed: int = 0
    seconds: float = 0.0
    sync_skipped: bool = False

    @property
    def rows_per_s(self) -> float:
        return self.read / self.seconds if self.seconds else 0.0

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"rows_per_s": self.rows_per_s}


def ingest(
    stores: Stores,
    table: Path,
    images: Path | str | None,
    column_map: ColumnMap,
    *,
    rejects: Path | None = None,
    sync: bool = False,
    progress: Callable[[IngestReport], None] | None = None,
    recognise: Recognise | None = None,
    renew_phrases: bool = False,
) -> IngestReport:
    """Bring the graph up to what the table says.

    Args:
        stores: only the graph is written to.
        table: as `read_rows` reads it.
        images: folder, zip file or URL that the picture references are relative to; None: the table's folder.
        column_map: is held against the table first.
        rejects: JSON lines of the rows that broke a rule: line, id, field, value, rule. Not written if there are none.
        sync: also remove products that the table does not hold.
        progress: is called after every chunk.
        recognise: the model that `entity_model` names.
        renew_phrases: mine the captions anew, however little has changed; nothing is mined where `mine_phrases` is off.

    Raises:
        BadInput: a table that cannot be read; nothing at `images`; `sync` with a table without rows.
        BadColumnMap: the map names a column that the table lacks.
        StoreDown: the graph does not answer; run it again later.
    """
    started = time.monotonic()
    if rejects is not None and rejects.resolve() == table.resolve():
        raise BadInput(f"the rejects file {rejects} is the table itself")
    column_map.check(table_columns(table)[0])
    images = table.parent if images is None else images
    if not str(images).startswith(WEB) and not Path(images).exists():
        raise BadInput(f"no pictures at {images}", hint="--images takes a folder, a zip file or a URL")
    with ExitStack() as stack:
        pictures = stack.enter_context(closing(Pictures.from_settings(stores.settings)))
        seen = stack.enter_context(closing(Seen()))
        refused = stack.enter_context(closing(_Rejects(rejects)))
        reading = _Reading(table, images, column_map, pictures, seen, refused)
        readers = stack.enter_context(ThreadPoolExecutor(max(4, 2 * (os.cpu_count() or 1)), "pictures"))
        writer = stack.enter_context(ThreadPoolExecutor(1, "graph"))
        report, pending = IngestReport(), None
        drafts = reading.drafts()
        while chunk := list(islice(drafts, stores.settings.batch_rows)):
            counts, work = _prepare(stores, chunk, reading, readers)
            if pending:
                pending.result()
            pending = writer.submit(work)
            report = replace(
                report,
                read=reading.read,
                rejected=refused.count,
                seconds=time.monotonic() - started,
                **{name: getattr(report, name) + n for name, n in counts.items()},
            )
            if progress:
                progress(report)
        if pending:
            pending.result()
        removed = 0
        if sync and not refused.nameless:
            if not reading.read:
                raise BadInput(f"{table} has no rows: --sync would remove the whole catalogue")
            ids = (row["id"] for row in stores.graph.stream(IDS))
            for gone in seen.absent(ids, stores.settings.batch_rows):
                remove(stores.graph, gone)
                removed += len(gone)
        settings = stores.settings
        model = settings.entity_model or ""
        mining = Mining(settings.mine_phrases, settings.mine_least_df, recognise, model, renew=renew_phrases)
        match_phrases(stores.graph, settings.phrase_dictionary, mining=mining, most=settings.entities_per_product)
        prune_entities(stores.graph)
        return replace(
            report,
            read=reading.read,
            unchanged=report.unchanged + reading.repeated,
            rejected=refused.count,
            removed=removed,
            seconds=time.monotonic() - started,
            sync_skipped=sync and refused.nameless,
        )


@dataclass(frozen=True, slots=True)
class _Draft:
    """A good row whose pictures are known to be there, but not read."""

    line: int
    product: Product
    content: str  # hash of the product, its pictures unread
    source: str  # hash of that and of its pictures' signatures


class _Rejects:
    """The rejects file, begun with the first reject; a file of an earlier run goes."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.count, self.nameless = path, 0, False
        self._file: IO[str] | None = None
        if path:
            with self._writable():
                path.unlink(missing_ok=True)
                if not path.parent.is_dir():
                    raise NotADirectoryError(0, f"{path.parent} is not a folder")

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BadInput(f"the rejects file {self.path} cannot be written: {error.strerror}") from error

    def add(self, line: int, id: str, error: BadRecord) -> None:
        self.count += 1
        self.nameless = self.nameless or not id
        if self.path:
            if self._file is None:
                with self._writable():  # halves of surrogate pairs are written as escapes
                    self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace")
            entry = {"line": line, "id": id, "field": error.field, "value": _strict(error.value), "rule": error.rule}
            self._file.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")

    def close(self) -> None:
        if self._file:
            self._file.close()


def _strict(value: Any) -> Any:
    """NaN and infinities, which JSON does not know, as text."""
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class _Reading:
    """The rows of one table as drafts; what breaks a rule goes to the rejects."""

    def __init__(
        self, table: Path, images: Path | str, column_map: ColumnMap, pictures: Pictures, seen: Seen, refused: _Rejects
    ) -> None:
        self.table, self.images, self.column_map = table, images, column_map
        self.pictures, self.seen, self.refused = pictures, seen, refused
        self.read = self.repeated = 0

    def drafts(self) -> Iterator[_Draft]:
        for line, row in read_rows(self.table, self._unreadable):
            self.read += 1
            try:
                if draft := self._draft(line, row):
                    yield draft
            except BadRecord as error:
                id = self.column_map.id_of(row)
                self.refused.add(line, id, error)
                if id:
                    self.seen.add(id, line, "")

    def _unreadable(self, line: int, error: BadRecord) -> None:
        self.read += 1
        self.refused.add(line, "", error)

    def _draft(self, line: int, row: Row) -> _Draft | None:
        product = self.column_map.record(row)
        content = product.hash
        if earlier := self.seen.add(product.id, line, content):
            if earlier.content != content:
                raise BadRecord("id", product.id, f"line {earlier.line} has the same id with other content")
            self.repeated += 1
            return None
        found, signatures = [], []
        for picture in product.pictures:
            try:
                uri = self.pictures.locate(self.images, picture.uri)
                signatures.append(self.pictures.signature(uri))
            except BadPicture as error:
                raise BadRecord("pictures", picture.uri, error.message) from error
            found.append(picture.model_copy(update={"uri": uri}))
        if found:
            product = product.model_copy(update={"pictures": tuple(found)})
            content = product.hash  # where its pictures lie counts, until their bytes are known
        return _Draft(line, product, content, content_hash([content, signatures]))

    def measured(self, draft: _Draft, sizes: dict[str, Future[tuple[str, int, int]]]) -> Listing | None:
        """The draft with its pictures measured, or None if one of them is refused."""
        found = []
        for picture in draft.product.pictures:
            try:
                sha256, width, height = sizes[picture.uri].result()
            except (BadPicture, TooLarge) as error:
                self.refused.add(draft.line, draft.product.id, BadRecord("pictures", picture.uri, error.message))
                return None
            if picture.box and (picture.box[2] > width or picture.box[3] > height):
                rule = f"reaches out of the picture of {width} x {height} pixels"
                self.refused.add(draft.line, draft.product.id, BadRecord("boxes", list(picture.box), rule))
                return None
            found.append(picture.model_copy(update={"sha256": sha256, "width": width, "height": height}))
        if not found:
            return Listing(draft.product, draft.source, draft.content)
        return Listing(draft.product.model_copy(update={"pictures": tuple(found)}), draft.source)


def _prepare(
    stores: Stores, chunk: Sequence[_Draft], reading: _Reading, readers: ThreadPoolExecutor
) -> tuple[dict[str, int], Callable[[], None]]:
    """How many of the chunk are written, updated and unchanged, and what writes them."""
    held = known(stores.graph, [draft.product.id for draft in chunk])
    fresh = [draft for draft in chunk if held.get(draft.product.id, ("", ""))[0] != draft.source]
    uris = {picture.uri for draft in fresh for picture in draft.product.pictures}
    sizes = {uri: readers.submit(reading.pictures.measure, uri) for uri in sorted(uris)}
    listings = [listing for draft in fresh if (listing := reading.measured(draft, sizes))]
    same = [one for one in listings if one.product.id in held and held[one.product.id][1] == one.content]
    changed = [one for one in listings if one.product.id not in held or held[one.product.id][1] != one.content]
    updated = sum(one.product.id in held for one in changed)
    counts = {
        "unchanged": len(chunk) - len(fresh) + len(same),
        "updated": updated,
        "written": len(changed) - updated,
    }

    def work() -> None:
        if changed:
            put(stores.graph, changed)
        if same:
            touch(stores.graph, same)

    return counts, work
