"""What happens around every task that this process works at: it is traced and timed.

Celery's own signals tell of it, so that a new kind of task needs nothing. The message of a job's next step is sent
inside the step before: all steps of a job are one trace, that of the request which submitted it.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from celery import Task
from celery.signals import task_postrun, task_prerun
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from kg.tracing import entry
from workers.metrics import TASK_SECONDS

__all__ = ["watch_tasks"]

HEADERS = ("traceparent", "tracestate", "baggage")  # of W3C, put there by workers.app


@dataclass(frozen=True)
class _Open:
    span: Span
    started: float
    leave: ExitStack


def watch_tasks() -> None:
    """From now on."""
    tasks: dict[str, _Open] = {}

    def begin(task_id: str, task: Task, **_: Any) -> None:
        carrier = {name: value for name in HEADERS if isinstance(value := task.request.get(name), str)}
        job = str(next(iter(task.request.args or ()), ""))
        leave = ExitStack()
        span = leave.enter_context(entry(f"task {task.name}", carrier, SpanKind.CONSUMER, job=job))
        tasks[task_id] = _Open(span, time.perf_counter(), leave)

    def end(task_id: str, task: Task, state: str | None = None, **_: Any) -> None:
        if (seen := tasks.pop(task_id, None)) is None:
            return
        how = (state or "unknown").lower()
        TASK_SECONDS.labels(task.name, how).observe(time.perf_counter() - seen.started)
        seen.span.set_attribute("state", how)
        if how == "failure":
            seen.span.set_status(Status(StatusCode.ERROR))
        seen.leave.close()

    task_prerun.connect(begin, weak=False)
    task_postrun.connect(end, weak=False)
