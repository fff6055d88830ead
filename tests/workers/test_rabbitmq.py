"""The same worker over a RabbitMQ broker: what it does by itself, and what it does otherwise than Redis."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kombu import Connection

from kg.errors import StoreDown
from kg.migrate import migrate
from kg.processes import stop
from kg.stores import Stores
from tests.conftest import apart, wipe
from tests.rabbitmq_server import RabbitMQServer
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny
from workers.app import make_app
from workers.jobs import get_job, submit_embed, wait
from workers.process import start_worker, workers_alive

NAMED = os.environ.get("SKUGRAPH_TEST_RABBITMQ", "")
PRODUCTS = 10

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.skipif(not NAMED, reason="SKUGRAPH_TEST_RABBITMQ names no RabbitMQ server, and no program to start"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQServer | None]:
    """A server that wants a sign of life every second; None where one of the caller's is named."""
    if "://" in NAMED:
        yield None
    else:
        with RabbitMQServer(Path(NAMED), tmp_path_factory.mktemp("rabbitmq"), heartbeat=1) as server:
            yield server


@pytest.fixture
def here(server: RabbitMQServer | None, embedded: Stores, tmp_path: Path) -> Stores:
    """A shop in a home of its own, with that broker; its queues are empty."""
    migrate(embedded.graph)
    wipe(embedded)
    here = apart(embedded, tmp_path / "home", broker_url=server.url if server else NAMED, embed_chunk=4)
    for n in range(PRODUCTS):
        put(here.graph, f"p{n}", pictures=[draw(tmp_path / f"{n}.png", n)])
    app = make_app(here.settings)
    with app.connection_for_write() as connection:
        for queue in app.amqp.queues.values():
            queue(connection.default_channel).declare()
            queue(connection.default_channel).purge()
    return here


def waiting(stores: Stores, queue: str = "encode") -> int:
    """Messages of a queue that no worker holds."""
    with Connection(stores.settings.broker_url) as connection:
        return int(connection.default_channel.queue_declare(queue, passive=True).message_count)


def test_a_job_over_rabbitmq(here: Stores, tmp_path: Path) -> None:
    worker = start_worker(here.settings)
    try:
        assert [seen["pid"] for seen in workers_alive(here.settings)] == [worker.pid]
        job = wait(here, submit_embed(here, write_tiny(tmp_path / "tiny")).id, timeout_s=240)
        assert (job.state, job.done) == ("done", PRODUCTS)
        until(lambda: waiting(here) == 0)
    finally:
        stop(worker)


def test_a_long_step_is_no_death(here: Stores, server: RabbitMQServer | None, tmp_path: Path) -> None:
    """The server asks for a sign of life every second, and the worker's thread is busy for longer."""
    slow = Stores(here.settings.model_copy(update={"embed_max_rate": 2.0}), here.graph, here.vectors_uri)
    worker = start_worker(slow.settings)
    try:
        job = wait(slow, submit_embed(slow, write_tiny(tmp_path / "tiny")).id, timeout_s=240)
        assert (job.state, job.done) == ("done", PRODUCTS)
        assert job.busy_s > 4
        assert "onnection" not in (slow.home.log / "worker.log").read_text()
        if server:
            assert "missed heartbeats" not in server.log.read_text()
    finally:
        stop(worker)


def test_the_message_of_a_killed_worker_comes_back(here: Stores, tmp_path: Path) -> None:
    slow = Stores(here.settings.model_copy(update={"embed_max_rate": 0.5}), here.graph, here.vectors_uri)
    worker = start_worker(slow.settings)
    try:
        job = submit_embed(slow, write_tiny(tmp_path / "tiny"))
        until(lambda: get_job(slow, job.id).state == "running")
        assert waiting(slow) == 0, "the worker holds it until its step is over"
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        until(lambda: waiting(slow) == 1)
    finally:
        stop(worker)


def test_messages_outlive_the_server(here: Stores, server: RabbitMQServer | None, tmp_path: Path) -> None:
    if server is None:
        pytest.skip("the server is not ours to stop")
    job = submit_embed(here, write_tiny(tmp_path / "tiny"))
    assert waiting(here) == 1
    server.stop()
    with pytest.raises(StoreDown, match="broker store at amqp://"):
        submit_embed(here, write_tiny(tmp_path / "other"))
    server.start()
    assert waiting(here) == 1
    worker = start_worker(here.settings)
    try:
        assert wait(here, job.id, timeout_s=240).done == PRODUCTS
    finally:
        stop(worker)


def test_a_refused_password_is_not_told(here: Stores, tmp_path: Path) -> None:
    url = (here.settings.broker_url or "").replace("s3cret", "wr0ng")
    if "wr0ng" not in url:
        pytest.skip("only of our own server is the password known")
    away = Stores(here.settings.model_copy(update={"broker_url": url}), here.graph, here.vectors_uri)
    for ask in (lambda: submit_embed(away, write_tiny(tmp_path / "tiny")), lambda: workers_alive(away.settings)):
        with pytest.raises(StoreDown, match="broker store at amqp://") as caught:
            ask()
        assert "wr0ng" not in str(caught.value)


def until(true: Callable[[], bool], timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
