"""The Celery application, made from the settings.

The broker is a folder in the home unless the settings name one, results are SQLite there. Messages carry nothing but a
job's id: the job in the graph says what is to do, so a lost or repeated message does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, get_args
from urllib.parse import quote

from amqp.exceptions import AMQPError
from celery import Celery
from celery.signals import before_task_publish
from kombu import Queue
from kombu.exceptions import OperationalError

from kg.errors import StoreDown
from kg.home import Home
from kg.settings import Queue as QueueName
from kg.settings import Settings
from kg.tracing import carried

__all__ = ["TASKS", "broker_down", "is_rabbitmq", "make_app"]

# Kind of job, also the task's name → its queue.
TASKS = {
    "embed": "encode",
    "follow": "encode",
    "reembed": "encode",
    "evaluate": "encode",
    "relate": "graph",
    "gnn": "graph",
    "audit": "graph",
    "switch": "graph",
}
LONGEST_TASK_S = 6 * 3600  # a message that nobody acknowledged comes back after this
POLL_S = 0.1  # how often an idle worker looks into the broker's folder


@lru_cache(maxsize=8)
def make_app(settings: Settings) -> Celery:
    """The application for these settings; `app.settings` holds them for the tasks."""
    app = Celery("skugraph", include=[f"workers.tasks.{kind}" for kind in TASKS])
    app.settings = settings
    home = Home(settings.home)
    transport: dict[str, Any] = {"visibility_timeout": LONGEST_TASK_S}
    if is_rabbitmq(settings):
        transport = {"confirm_publish": True}  # a message is sent once the server has it, not once it has left
    elif settings.broker_url is None:
        folders = {name: home.broker / name for name in ("messages", "control")}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        transport = {
            "data_folder_in": str(folders["messages"]),
            "data_folder_out": str(folders["messages"]),
            "control_folder": str(folders["control"]),
            "polling_interval": POLL_S,
        }
    app.conf.update(
        broker_url=settings.broker_url or "filesystem://localhost",
        broker_transport_options=transport,
        broker_connection_retry_on_startup=True,
        # The thread that would send signs of life is the one that encodes: RabbitMQ would take a step for a death.
        broker_heartbeat=0,
        result_backend=settings.result_backend or f"db+sqlite:///{quote(str(home.broker / 'results.sqlite'))}",
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_queues=[Queue(queue, **_declared(settings)) for queue in get_args(QueueName)],
        task_routes={kind: {"queue": queue} for kind, queue in TASKS.items()},
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=settings.broker_url is not None,  # for Flower; the folder would keep them for ever
        task_serializer="json",
        accept_content=["json"],
    )
    return app


def is_rabbitmq(settings: Settings) -> bool:
    """Whether the broker speaks AMQP."""
    return (settings.broker_url or "").startswith(("amqp://", "amqps://", "pyamqp://"))


def _declared(settings: Settings) -> dict[str, Any]:
    """How a queue is declared: durable with persistent messages, and with the time that RabbitMQ lets a task take."""
    arguments = {"x-consumer-timeout": LONGEST_TASK_S * 1000} if is_rabbitmq(settings) else None
    return {"durable": True, "queue_arguments": arguments}


@before_task_publish.connect(weak=False)
def carry(headers: dict[str, Any], **_: Any) -> None:
    """Let every message name the trace in which it is sent."""
    headers.update(carried())


@contextmanager
def broker_down(app: Celery) -> Iterator[None]:
    """Say `StoreDown` where the broker does not answer, with its address but not its password."""
    try:
        yield
    except (OperationalError, AMQPError, OSError) as error:
        raise StoreDown("broker", app.connection_for_write().as_uri(), str(error)) from error
