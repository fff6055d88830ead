"""A copy of the live generation beside the process that searches: exact under every filter, and quicker than a store.

Whatever is answered from it is what the vector store would answer:

- A copy belongs to one generation as it was at one cursor (its name says so). Products that changed between that cursor
  and the generation's cursor of now are read anew from the vector store, once, and stand in for those of the copy.
- Products that changed after the generation's cursor are in nobody's vectors for sure: the graph says whether they are
  admitted, the vector store what their vectors are, at each search.
- Where the changes cannot be told, or there are too many, there is no view, and the vector store is asked.

Copies lie in the home, `cache/resident/`, and are mapped, by several processes if need be. One process writes at a
time; what it writes appears when it is whole.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kg import feed
from kg.errors import JobError, NotFound, SkugraphError, TooLarge
from kg.home import locked
from kg.stores import Stores
from kg.vectors import generations
from kg.vectors.generations import Generation
from kg.vectors.resident_files import FIELDS, gathered, mapped, scanned_bytes, write
from kg.vectors.resident_view import Copy, Overlay, View
from kg.vectors.schema import VECTOR

__all__ = ["Resident"]

log = logging.getLogger("skugraph.resident")

CHANGED = 5000  # products read anew beside one copy; half of them, and another copy is written
UNSETTLED = 1000  # products that the generation has not embedded yet, looked at in each search
BATCH = 8000  # rows of one request while a copy is written
LOOK_S = 5.0  # the writer looks this often whether another copy is wanted
AGAIN_S = 60.0  # after a failure
NOT_YET = "the copy of this generation is not written yet"

Progress = Callable[[int, int], None]


class Resident:
    """The copies of one home, and the view of the live generation. Threads may share it.

    Args:
        stores: both stores; the settings `resident_mb` and `resident_dtype` say how much may be kept, and as what.
    """

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.folder = stores.home.cache / "resident" / stores.settings.vectors_prefix
        self._lock = threading.Lock()
        self._overlay: Overlay | None = None
        self._why = NOT_YET
        self._wake, self._stop = threading.Event(), threading.Event()
        self._writer: threading.Thread | None = None

    # looking

    def view(self, generation: Generation, stale: int) -> View | str:
        """The generation as it is, or why there is no view of it.

        Args:
            generation: the live one, as it was read for this search.
            stale: changes after its cursor that were counted then.

        Raises:
            StoreDown: a store does not answer.
        """
        if not self.stores.settings.resident_mb:
            return "resident_mb is 0"
        if stale > CHANGED + UNSETTLED:
            return f"more than {UNSETTLED} changes are not embedded yet"
        with self._lock:
            known = self._overlay
            if known is not None and _fits(known.copy, generation) and known.cursor > generation.cursor:
                generation = generations.get(self.stores, generation.id)  # read before another search that was quicker
            overlay = self._current(generation)
            if overlay is None:
                self._wake.set()
                return self._why
            unsettled: frozenset[str] = frozenset()
            if stale or overlay.cursor < generation.cursor:
                changed = feed.changed(self.stores.graph, overlay.cursor, CHANGED + UNSETTLED + 1)
                unsettled = frozenset(id for id, revision in changed.items() if revision > generation.cursor)
                settled = changed.keys() - unsettled
                if len(overlay.ids | settled) > CHANGED or len(changed) > CHANGED + UNSETTLED:
                    self._wake.set()
                    return f"more than {CHANGED} products changed since the copy was written"
                if len(unsettled) > UNSETTLED:
                    return f"more than {UNSETTLED} changes are not embedded yet"
                if overlay.cursor < generation.cursor:
                    self._overlay = overlay = self._caught_up(overlay, settled, generation.cursor)
                    if len(overlay.ids) > CHANGED // 2:
                        self._wake.set()
        return View(overlay, unsettled, self.stores)

    def _current(self, generation: Generation) -> Overlay | None:
        """The newest that was true at some time and can be brought to the cursor of now."""
        overlay = self._overlay
        if overlay is not None and _fits(overlay.copy, generation) and overlay.cursor <= generation.cursor:
            return overlay
        if overlay is not None and _fits(overlay.copy, generation) and overlay.copy.cursor <= generation.cursor:
            self._overlay = Overlay(overlay.copy, overlay.copy.cursor)  # the cursor was set back: begin anew
            return self._overlay
        self._overlay = None
        newest = self._newest(generation)
        if newest is not None:
            self._overlay = Overlay(newest, newest.cursor)
        return self._overlay

    def _newest(self, generation: Generation) -> Copy | None:
        found: list[tuple[int, Path, dict[str, Any]]] = []
        for path in self.folder.glob("[!.]*/copy.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):  # of another edition, or torn
                known = json.loads(path.read_text(encoding="utf-8"))
                same = (known["generation"], known["created_at"], known["edited"], known["dtype"]) == (
                    generation.id, generation.created_at, generation.edited, self.stores.settings.resident_dtype,
                )  # fmt: skip
                if same and known["cursor"] <= generation.cursor:
                    found.append((known["cursor"], path.parent, known))
        for cursor, path, known in sorted(found, key=lambda item: item[0], reverse=True):
            with suppress(OSError, ValueError, EOFError, KeyError):  # torn, or replaced by another process just now
                names = generation.collections(self.stores.vectors.prefix)
                rows = {names[kind]: mapped(path / kind) for kind in known["kinds"]}
                return Copy(path.name, generation.id, generation.created_at, generation.edited, cursor, rows)
        return None

    def _caught_up(self, overlay: Overlay, settled: frozenset[str] | set[str], cursor: int) -> Overlay:
        """With the rows of these products as the vector store has them now."""
        if not settled:
            return replace(overlay, cursor=cursor)
        ids = overlay.ids | settled
        found: dict[str, dict[str, Sequence[Mapping[str, Any]]]] = {}
        rows, gone = {}, {}
        for collection, copy in overlay.copy.rows.items():
            mine: dict[str, list[Mapping[str, Any]]] = {}
            for row in self.stores.vectors.rows(collection, settled, FIELDS[2:]):
                kept = {**row, VECTOR: np.asarray(row[VECTOR], np.float32)}  # a list takes eight times the room
                mine.setdefault(row["product_id"], []).append(kept)
            before = {id: had for id, had in overlay.found.get(collection, {}).items() if id not in settled}
            found[collection] = {**before, **mine}
            rows[collection] = gathered(
                (row for had in found[collection].values() for row in had), copy.vectors.shape[1]
            )
            mask = overlay.gone[collection].copy() if collection in overlay.gone else np.zeros(len(copy), bool)
            copy.mark_products(mask, copy.numbers(settled))
            gone[collection] = mask
        return Overlay(overlay.copy, cursor, found, rows, gone, frozenset(ids))

    # writing

    def build(self, progress: Progress | None = None, *, wait_s: float = 3600) -> None:
        """Write a copy of the live generation, unless there is one as it is now; older ones go.

        Args:
            progress: is told how many rows are read, and of how many.
            wait_s: how long another process that writes one is waited for.

        Raises:
            TimeoutError: that process is not done by then.
            NotFound: no generation is live.
            TooLarge: it needs more than the setting `resident_mb`.
            JobError: it was changed otherwise than by embedding meanwhile.
            StoreDown: a store does not answer.
        """
        with locked(self.stores.home.run / "resident.lock", timeout_s=wait_s):
            generation = generations.live(self.stores)
            if generation is None:
                raise NotFound("no generation is live: there is nothing to copy", hint="`skugraph embed` makes one")
            newest = self._newest(generation)
            if newest is None or newest.cursor < generation.cursor:
                self._write(generation, progress)
        with self._lock:
            self._overlay, self._why = None, NOT_YET

    def _write(self, generation: Generation, progress: Progress | None) -> None:
        settings, vectors = self.stores.settings, self.stores.vectors
        names = generation.collections(vectors.prefix)
        counts = {kind: vectors.count(name) for kind, name in names.items()}
        total, dtype = sum(counts.values()), settings.resident_dtype
        needed = scanned_bytes(total, generation.dim, dtype) / 1e6
        if needed > settings.resident_mb:
            raise TooLarge(
                f"a copy of {total} vectors in {dtype} needs {needed:,.0f} MB, resident_mb is {settings.resident_mb:g}",
                hint="a larger resident_mb, or resident_dtype = float16",
            )
        name = f"{generation.id}-{generation.edited}-{generation.cursor}-{dtype}"
        folder = self.folder / name
        draft = self.folder / f".{name}"
        shutil.rmtree(draft, ignore_errors=True)  # of a writer that was killed: the lock is ours
        draft.mkdir(mode=0o700, parents=True)
        try:
            done = 0
            for kind, collection in names.items():

                def say(read: int, before: int = done) -> None:
                    if progress:
                        progress(before + read, total)

                done += write(draft / kind, self._batches(collection), generation.dim, dtype, say)
            self._check(generation, done)
            about = {
                "generation": generation.id, "created_at": generation.created_at, "edited": generation.edited,
                "cursor": generation.cursor, "dtype": dtype, "kinds": list(names), "rows": done,
            }  # fmt: skip
            (draft / "copy.json").write_text(json.dumps(about), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        for other in self.folder.iterdir():
            if other.name != name:
                shutil.rmtree(other, ignore_errors=True)  # who has it mapped keeps what it has

    def _batches(self, collection: str) -> Iterator[list[dict[str, Any]]]:
        for batch in self.stores.vectors.scan(collection, FIELDS, batch=BATCH):
            if self._stop.is_set():
                raise JobError("the process ends: the copy is not finished")
            yield batch

    def _check(self, before: Generation, read: int) -> None:
        """What changed by embedding meanwhile is read anew by its revision; what changed otherwise spoils the copy."""
        after = generations.get(self.stores, before.id)
        if (after.created_at, after.edited) != (before.created_at, before.edited) or after.cursor < before.cursor:
            raise JobError(f"generation {before.id} was begun anew or repaired while it was copied")
        if after.cursor == before.cursor and not generations.stale(self.stores, after):
            names = before.collections(self.stores.vectors.prefix).values()
            there = sum(self.stores.vectors.count(name) for name in names)
            if there != read:
                raise JobError(f"generation {before.id} has {there} vectors, and {read} were read")

    def start(self) -> None:
        """Let a thread see to it that there is a copy, until `close`."""
        if self._writer is None and self.stores.settings.resident_mb:
            self._writer = threading.Thread(target=self._work, name="resident", daemon=True)
            self._writer.start()

    def close(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._writer is not None:
            self._writer.join()

    def _work(self) -> None:
        wait = 0.0
        while not self._stop.wait(wait):
            self._wake.wait(LOOK_S)
            self._wake.clear()
            wait = 0.1
            try:
                if not self._stop.is_set() and self._wanted():
                    self.build(wait_s=0)
            except TimeoutError:
                wait = LOOK_S  # another process writes it
            except SkugraphError as error:
                self._why, wait = error.message, AGAIN_S
                if not self._stop.is_set():
                    log.warning("no copy of the live generation beside the process: %s", error)
            except Exception as error:  # such as a full disk: searches go on without
                self._why, wait = f"the copy failed: {error}", AGAIN_S
                log.exception("no copy of the live generation beside the process")

    def _wanted(self) -> bool:
        generation = generations.live(self.stores)
        if generation is None:
            return False
        with self._lock:
            overlay = self._current(generation)
        if overlay is not None and generations.stale(self.stores, generation) > UNSETTLED:
            return False  # it is being embedded: there would be no view of another copy either
        return overlay is None or len(overlay.ids) > CHANGED // 2 or generation.cursor - overlay.cursor > CHANGED // 2


def _fits(copy: Copy, generation: Generation) -> bool:
    return (copy.generation, copy.created_at, copy.edited) == (generation.id, generation.created_at, generation.edited)
