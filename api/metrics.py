"""What the API counts, for Prometheus: `GET /metrics`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

__all__ = [
    "AUDIT_AT",
    "AUDIT_FAULTS",
    "DRIFT",
    "ENCODE_CACHE_BYTES",
    "ENCODE_WISHES",
    "GENERATION_STALE",
    "INSTANCES_FOUND",
    "INSTANCES_SECONDS",
    "JOBS",
    "QUEUE_MESSAGES",
    "REQUESTS",
    "REQUEST_SECONDS",
    "SEARCH_REQUESTED",
    "SEARCH_RETURNED",
    "SEARCH_SECONDS",
    "UP",
    "WATCHED_AT",
]

disable_created_metrics()  # a time series more for each counter, that nobody asks for

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS = Counter("skugraph_requests", "Requests answered, by route, method and status", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "skugraph_request_seconds", "Time to answer a request, by route", ["route"], buckets=SECONDS
)
SEARCH_SECONDS = Histogram("skugraph_search_seconds", "Time of a search, by plan", ["plan"], buckets=SECONDS)
SEARCH_REQUESTED = Counter("skugraph_search_requested", "Results that searches asked for, by plan", ["plan"])
SEARCH_RETURNED = Counter("skugraph_search_returned", "Results that searches returned, by plan", ["plan"])
INSTANCES_SECONDS = Histogram(
    "skugraph_instances_seconds", "Time of a search by instances, by plan", ["plan"], buckets=SECONDS
)
INSTANCES_FOUND = Counter("skugraph_instances_found", "Instances in query pictures, given or proposed", ["boxes"])
ENCODE_WISHES = Counter(
    "skugraph_encode_wishes",
    "Texts and pictures asked with, by how their vector came: cached, joined (another asked at the same time), encoded",
    ["part", "how"],
)
ENCODE_CACHE_BYTES = Gauge("skugraph_encode_cache_bytes", "Room that vectors of earlier questions take")
GENERATION_STALE = Gauge(
    "skugraph_generation_stale",
    "Changes of the catalogue that a generation has not embedded yet",
    ["generation", "state"],
)
DRIFT = Gauge("skugraph_drift", "Share of what the latest audit looked at in which graph and vectors do not agree")
AUDIT_FAULTS = Gauge("skugraph_audit_faults", "Faults that the latest audit found, by kind", ["kind"])
AUDIT_AT = Gauge("skugraph_audit_at_seconds", "When the latest audit ended, in seconds of the epoch; 0: there was none")
JOBS = Gauge("skugraph_jobs", "Jobs, by kind and state", ["kind", "state"])
QUEUE_MESSAGES = Gauge("skugraph_queue_messages", "Messages that wait for a worker, by queue", ["queue"])
UP = Gauge("skugraph_up", "Whether the graph, the vectors and the broker answer: 1 or 0", ["part"])
WATCHED_AT = Gauge("skugraph_watched_at_seconds", "When the gauges were last looked at, in seconds of the epoch")
