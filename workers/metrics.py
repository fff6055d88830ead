"""What a worker counts, for Prometheus: on a port of its own, where the setting `worker_metrics_port` names one."""

from __future__ import annotations

from prometheus_client import Counter, Histogram, disable_created_metrics, start_http_server

from kg.settings import Settings
from workers.stages import Stages

__all__ = ["PRODUCTS", "REJECTS", "STAGE_SECONDS", "TASK_SECONDS", "VECTORS", "count_stages", "serve"]

disable_created_metrics()

STEP = (0.1, 0.5, 1, 5, 10, 20, 30, 45, 60, 120, 300)

TASK_SECONDS = Histogram(
    "skugraph_worker_task_seconds", "Time of a task (one step of a job), by its end", ["task", "state"], buckets=STEP
)
VECTORS = Counter("skugraph_worker_vectors", "Vectors encoded, by kind of instance", ["kind"])
PRODUCTS = Counter("skugraph_worker_products", "Products that embedding jobs are done with")
REJECTS = Counter("skugraph_worker_rejects", "Instances left out by embedding jobs, such as broken pictures")
STAGE_SECONDS = Counter(
    "skugraph_worker_stage_seconds", "Time in each stage of embedding; stages of several threads overlap", ["stage"]
)


def count_stages(stages: Stages) -> None:
    """Add the times of one step; `stages` must be of that step alone."""
    for stage, seconds in stages.wall.items():
        STAGE_SECONDS.labels(stage).inc(seconds)


def serve(settings: Settings) -> int | None:
    """Answer Prometheus in a thread of its own, also while a task runs; the port, None where none is wanted.

    Raises:
        OSError: the port is taken.
    """
    if settings.worker_metrics_port is None:
        return None
    server, _ = start_http_server(settings.worker_metrics_port, addr=settings.worker_metrics_host)
    return int(server.server_port)
