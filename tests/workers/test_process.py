"""The worker as a process of its own: it does jobs, and a killed one loses nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kg.home import Home
from kg.processes import stop
from kg.settings import Settings, load_settings
from kg.stores import Stores, running
from kg.vectors import generations
from tests.shop import draw, put
from tests.tiny_encoder import write_tiny
from workers.jobs import Job, cancel, get_job, list_jobs, pause, resume, submit_embed, wait
from workers.lease import claim, note
from workers.process import SILENT_S, environment, run_name, start_worker, workers_alive

PRODUCTS = 24
Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def stores(stores: Stores, tmp_path: Path, request: pytest.FixtureRequest) -> Stores:
    """The stores of the session seen from a home of this test alone: its own broker, run files and logs."""
    update = {
        "home": Home(tmp_path / "home").create().root,
        "embed_chunk": 4,
        **getattr(request, "param", {}),
        "graph_uri": stores.graph.address,
        "graph_user": stores.graph.at.user,
        "graph_password": stores.graph.at.password,
        "graph_database": stores.graph.at.database,
        "vectors_uri": stores.vectors_uri,
    }
    return Stores(load_settings(**update), stores.graph, stores.vectors_uri)


@pytest.fixture
def start(stores: Stores) -> Iterator[Start]:
    """Starts workers, all of which are stopped afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def one() -> subprocess.Popen[bytes]:
        started.append(start_worker(stores.settings))
        return started[-1]

    yield one
    for process in started:
        stop(process)


def shop(stores: Stores, folder: Path) -> None:
    for n in range(PRODUCTS):
        put(stores.graph, f"p{n:02d}", title=f"Jar number {n}", pictures=[two(folder, n)])


def two(folder: Path, n: int) -> Path:
    """A picture of two things on white, made of smaller ones."""
    image = Image.new("RGB", (200, 100), "white")
    for m in range(2):
        with Image.open(draw(folder / f"{n}-{m}.png", 2 * n + m)) as thing:
            image.paste(thing, (20 + 100 * m, 20))
    image.save(folder / f"{n}.png")
    return folder / f"{n}.png"


def contents(stores: Stores, generation: str) -> dict[str, np.ndarray]:
    found = {}
    for name in generations.get(stores, generation).collections("skugraph").values():
        for batch in stores.vectors.fetch_all(name):
            found |= {f"{name} {i}": v for i, v in zip(batch.instance_ids, batch.vectors, strict=True)}
    return found


def until(stores: Stores, job: Job, done: int) -> Job:
    """The job when it has come so far."""
    end = time.monotonic() + 60
    while (seen := get_job(stores, job.id)).done < done:
        assert time.monotonic() < end, f"{seen}: not at {done}"
        assert not seen.over, f"{seen}: over before {done}"
        time.sleep(0.02)
    return seen


@pytest.mark.parametrize("stores", [{"embed_regions": 4, "embed_region_score": 0.01}], indirect=True, ids=["regions"])
def test_killed_in_the_middle_and_resumed_gives_the_same_vectors(stores: Stores, start: Start, tmp_path: Path) -> None:
    shop(stores, tmp_path)
    slow = write_tiny(tmp_path / "tiny", seconds=0.1, detector=True)
    worker = start()
    job = submit_embed(stores, slow)
    until(stores, job, 8)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    torn = get_job(stores, job.id)
    assert torn.state == "running"
    assert 0 < torn.done < PRODUCTS
    assert generations.live(stores) is None

    start()  # finds the orphan by itself
    resumed = wait(stores, job.id, timeout_s=120)
    assert (resumed.state, resumed.done, resumed.total) == ("done", PRODUCTS, PRODUCTS)
    assert len(list_jobs(stores)) == 1
    found = contents(stores, resumed.generation)
    assert len([row for row in found if row.endswith("#txt")]) == PRODUCTS
    assert len([row for row in found if row.endswith("#img0")]) == PRODUCTS
    regions = [row for row in found if "#img0#" in row]
    assert {row.partition(" ")[2].partition("#")[0] for row in regions} == {f"p{n:02d}" for n in range(PRODUCTS)}

    # The same again from nothing, undisturbed.
    for name in generations.get(stores, resumed.generation).collections("skugraph").values():
        for alias in stores.vectors.connection.client.list_aliases(name)["aliases"]:
            stores.vectors.connection.client.drop_alias(alias)
        stores.vectors.drop(name)
    stores.graph.write("MATCH (n) WHERE n:Generation OR n:Job DETACH DELETE n")
    again = wait(stores, submit_embed(stores, slow).id, timeout_s=120)
    assert (again.state, again.generation) == ("done", resumed.generation)
    undisturbed = contents(stores, again.generation)
    assert found.keys() == undisturbed.keys()
    for key, vector in undisturbed.items():
        np.testing.assert_allclose(found[key], vector, atol=1e-6)


@pytest.mark.parametrize("server", ["graph", "vectors"])
def test_a_server_killed_in_the_middle_is_waited_for(
    stores: Stores, embedded: Stores, start: Start, tmp_path: Path, server: str
) -> None:
    if stores.graph.engine != "arcadedb":
        pytest.skip("only the embedded servers are ours to kill")
    shop(stores, tmp_path)
    start()
    job = submit_embed(stores, write_tiny(tmp_path / "tiny", seconds=0.2))
    until(stores, job, 8)
    services = running(embedded.home)
    assert services is not None
    os.kill(services[server]["pid"], signal.SIGKILL)
    done = wait(stores, job.id, timeout_s=120)
    assert (done.state, done.done, done.error) == ("done", PRODUCTS, "")
    assert len(contents(stores, done.generation)) == 2 * PRODUCTS


def test_pause_resume_cancel(stores: Stores, start: Start, tmp_path: Path) -> None:
    shop(stores, tmp_path)
    slow = write_tiny(tmp_path / "tiny", seconds=0.2)
    start()
    job = submit_embed(stores, slow)
    until(stores, job, 4)
    assert submit_embed(stores, slow).id == job.id, "an open job is taken up, not doubled"
    paused = pause(stores, job.id)
    assert wait(stores, job.id).state == "paused"
    time.sleep(3)
    held = get_job(stores, job.id).done
    assert held - paused.done <= stores.settings.embed_chunk, "no more than the chunk at hand"
    resume(stores, job.id)
    until(stores, job, held + 4)
    cancel(stores, job.id)
    assert wait(stores, job.id).state == "cancelled"
    rest = submit_embed(stores, slow)
    assert rest.id != job.id
    finished = wait(stores, rest.id, timeout_s=120)
    assert finished.state == "done"
    cancelled = get_job(stores, job.id)
    assert finished.done + cancelled.done == PRODUCTS
    assert cancelled.rate > 0


def test_a_worker_is_seen_while_it_lives(stores: Stores, start: Start) -> None:
    assert workers_alive(stores.settings) == []
    worker = start()
    [seen] = workers_alive(stores.settings)
    assert seen["pid"] == worker.pid
    assert "encode" in seen["queues"]
    worker.terminate()
    assert worker.wait(30) == 0
    assert workers_alive(stores.settings) == []


def test_a_worker_elsewhere_that_is_at_a_job_is_seen_though_it_does_not_answer(stores: Stores, tmp_path: Path) -> None:
    """Over a broker that nobody listens to: a step keeps a worker from answering, however long it takes."""
    own = Stores(stores.settings.model_copy(update={"broker_url": "memory://"}), stores.graph, stores.vectors_uri)
    job = submit_embed(own, write_tiny(tmp_path / "tiny"))
    assert workers_alive(own.settings, own.graph) == [], "a job that waits shows no worker"
    assert claim(own, job.id) is not None
    mine = f"skugraph-{os.getpid()}@{socket.gethostname()}"
    assert [seen["worker"] for seen in workers_alive(own.settings, own.graph)] == [mine]
    note(own, job.id, worker=f"{socket.gethostname()} {os.getpid()} 1@00000000")
    assert workers_alive(own.settings, own.graph) == [], "here it is known that it died"
    beat = note(own, job.id, worker="elsewhere 7 1@00000000").heartbeat
    assert [seen["worker"] for seen in workers_alive(own.settings, own.graph)] == ["skugraph-7@elsewhere"]
    note(own, job.id, heartbeat=beat - SILENT_S)
    assert workers_alive(own.settings, own.graph) == [], "it was silent for long"


def test_workers_of_two_containers_do_not_take_each_others_run_file(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_name(7)
    monkeypatch.setattr("workers.process.socket.gethostname", lambda: "other")
    assert run_name(7) != first
    for name in (first, run_name(7)):
        stores.home.write_run(name, worker=name)
    assert len(workers_alive(stores.settings)) == 2


def test_environment_keeps_where_modules_of_the_user_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"mine{os.pathsep}")  # workers start in another folder
    paths = environment(Settings())["PYTHONPATH"].split(os.pathsep)
    assert paths == [str(Path(__file__).parents[2]), str(tmp_path / "mine")]


def test_environment_carries_every_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = load_settings(home=tmp_path, embed_kinds=("text",), graph_password="s3cret", fetch_private=True)
    for name, value in environment(given).items():
        if name.startswith("SKUGRAPH_"):
            monkeypatch.setenv(name, value)
    assert Settings() == given
