"""The Celery application follows the settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from kg.settings import load_settings
from workers.app import LONGEST_TASK_S, TASKS, make_app


@pytest.mark.parametrize("name", ["plain", "with space", "100%20", "a#b?c", "Größe"])
def test_the_results_lie_in_the_home_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    app = make_app(load_settings(home=home))
    assert make_url(app.conf.result_backend.removeprefix("db+")).database == str(home / "broker/results.sqlite")


@pytest.mark.parametrize("url", [None, "redis://127.0.0.1:9/0", "amqp://127.0.0.1:9//", "amqps://127.0.0.1:9//"])
def test_what_every_broker_is_asked_for(tmp_path: Path, url: str | None) -> None:
    """A message is acknowledged once its step is over, one is taken at a time, and queues outlive their server."""
    app = make_app(load_settings(home=tmp_path, broker_url=url))
    assert (app.conf.task_acks_late, app.conf.worker_prefetch_multiplier, app.conf.broker_heartbeat) == (True, 1, 0)
    assert set(TASKS.values()) <= set(app.amqp.queues)
    for name, queue in app.amqp.queues.items():
        rabbitmq = url is not None and url.startswith("amqp")
        assert queue.durable, name
        assert (queue.queue_arguments is not None) == rabbitmq
        assert not rabbitmq or queue.queue_arguments["x-consumer-timeout"] == LONGEST_TASK_S * 1000
    assert ("confirm_publish" in app.conf.broker_transport_options) == (url is not None and url.startswith("amqp"))
