"""Spans of OpenTelemetry: one trace from a request, through the broker and its worker, to both stores.

Without the extra `otel` and the setting `trace_to` there is nothing to trace to, and all of this does nothing. Spans of
the stores exist only inside a request or a task: what a process does of its own accord, such as signs of life, would
be so many traces of one span.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from kg.errors import BadSetting
from kg.settings import Settings

__all__ = ["adopt", "carried", "entry", "here", "install", "span"]

TRACER = trace.get_tracer("skugraph")


def install(settings: Settings, service: str) -> None:
    """Let the spans of this process go where the setting `trace_to` says; nothing where it is unset.

    Raises:
        BadSetting: it is set, and the extra `otel` is not installed.
    """
    if not settings.trace_to:
        return
    try:
        from kg.trace_export import provider  # the extra
    except ImportError as error:
        raise BadSetting(
            f"setting trace_to = {settings.trace_to!r}: {error.name} is not installed",
            hint="pip install 'skugraph[otel]'",
            field="trace_to",
        ) from error
    trace.set_tracer_provider(provider(settings.trace_to, service))


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[None]:
    """A span inside the one at hand; nothing where none is."""
    if not trace.get_current_span().is_recording():
        yield
        return
    with TRACER.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes):
        yield


@contextmanager
def entry(name: str, carrier: Mapping[str, str], kind: SpanKind, **attributes: Any) -> Iterator[Span]:
    """The span of a task that came in; it goes on with the trace that `carrier` (its headers) names."""
    parent = propagate.extract(carrier)
    with TRACER.start_as_current_span(name, context=parent, kind=kind, attributes=attributes) as found:
        yield found


def carried() -> dict[str, str]:
    """Headers that let the receiver of a message go on with this trace; none where there is none."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def here() -> Context:
    """Where in which trace this thread is, for `adopt` in another."""
    return context.get_current()


def adopt(place: Context) -> None:
    """Let this thread be there: the initializer of a pool whose work belongs to who made it."""
    context.attach(place)
