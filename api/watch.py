"""What is so at the moment, for Prometheus: which parts answer, what waits, how far each generation is behind.

Looked at when Prometheus asks. A store that is down takes its time to say so: the answer does not wait for it longer
than `PATIENCE_S`, and has what was seen last, whose age it tells.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import get_args

from amqp.exceptions import ChannelError
from kombu.exceptions import ChannelError as VirtualChannelError

from api.backend import Backend
from api.metrics import AUDIT_AT, AUDIT_FAULTS, DRIFT, GENERATION_STALE, JOBS, QUEUE_MESSAGES, UP, WATCHED_AT
from kg.audit import FaultKind, latest
from kg.errors import SkugraphError
from kg.graph.cypher.health import COUNT_JOBS
from kg.vectors.generations import listing, stale
from workers.app import TASKS, broker_down, make_app
from workers.jobs import State

__all__ = ["Watch"]

PATIENCE_S = 5.0


class Watch:
    """Sets the gauges of one backend. Threads may share it."""

    def __init__(self, server: Backend) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._looking: threading.Thread | None = None

    def refresh(self, *, patience_s: float = PATIENCE_S) -> None:
        """Look now; return when it is done, or after `patience_s` while it goes on."""
        with self._lock:
            if self._looking is None or not self._looking.is_alive():
                self._looking = threading.Thread(target=self._look, name="watch", daemon=True)
                self._looking.start()
            looking = self._looking
        looking.join(patience_s)

    def _look(self) -> None:
        # An engine that is down would hold up what asks it, so it is pinged first.
        graph = self._answers("graph", lambda: self.server.stores.graph.ping())
        vectors = self._answers("vectors", lambda: self.server.stores.vectors.collections())
        self._answers("broker", self._queues)
        if graph:
            self._answers("graph", self._jobs)
            self._answers("graph", self._audit)
        if graph and vectors:  # which generation is live stands in the vectors
            self._answers("vectors", self._generations)
        WATCHED_AT.set(time.time())

    def _answers(self, part: str, look: Callable[[], object]) -> bool:
        try:
            look()
        except SkugraphError:
            UP.labels(part).set(0)
            return False
        UP.labels(part).set(1)
        return True

    def _queues(self) -> None:
        app = make_app(self.server.settings)
        with broker_down(app), app.connection_for_read(connect_timeout=PATIENCE_S / 2) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=PATIENCE_S / 2)
            for queue in sorted(set(TASKS.values())):
                with connection.channel() as channel:  # a broker closes it where there is no such queue
                    try:
                        waiting = channel.queue_declare(queue=queue, passive=True).message_count
                    except (ChannelError, VirtualChannelError):
                        waiting = 0  # nobody has used it yet
                QUEUE_MESSAGES.labels(queue).set(waiting)

    def _jobs(self) -> None:
        # Those of which there is none too: a series that began with its first failure would show no rise.
        counts = {(kind, state): 0 for kind in TASKS for state in get_args(State)}
        counts |= {(row["kind"], row["state"]): row["jobs"] for row in self.server.stores.graph.read(COUNT_JOBS)}
        for labels, jobs in counts.items():
            JOBS.labels(*labels).set(jobs)

    def _audit(self) -> None:
        if (note := latest(self.server.stores)) is None:
            return
        DRIFT.set(note.drift)
        AUDIT_AT.set(note.at)
        for kind in get_args(FaultKind):
            AUDIT_FAULTS.labels(kind).set(note.faults.get(kind, 0))

    def _generations(self) -> None:
        stores = self.server.stores
        found = [(one.id, one.state, stale(stores, one)) for one in listing(stores) if one.state != "retired"]
        GENERATION_STALE.clear()
        for generation, state, changes in found:
            GENERATION_STALE.labels(generation, state).set(changes)
