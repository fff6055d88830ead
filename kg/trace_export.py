"""Where spans go, with the SDK of OpenTelemetry (extra `otel`): to a collector, or as lines of JSON to a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult

__all__ = ["FileExporter", "provider"]


class FileExporter(SpanExporter):
    """One line of JSON for each span; processes may share the file, for a line is written at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            os.write(self._file, f"{span.to_json(indent=None)}\n".encode())
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        os.close(self._file)


def provider(to: str, service: str) -> TracerProvider:
    """A provider of tracers whose spans go to `to`: http(s), or a file.

    How many are kept is for the SDK's own variables, such as OTEL_TRACES_SAMPLER.

    Raises:
        ImportError: `to` is an address, and there is no exporter for it.
    """
    made = TracerProvider(resource=Resource.create({"service.name": f"skugraph-{service}"}))
    if to.startswith(("http://", "https://")):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=to)))
    else:
        made.add_span_processor(SimpleSpanProcessor(FileExporter(Path(to).expanduser().absolute())))
    return made
