"""The whole way in one go: catalogue, graph, encoder, vectors, searches. What is done already is not done again."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from api.client import RUN_NAME
from api.instance_models import InstancesRequest
from api.models import SearchRequest
from api.server import Served, serving
from api.training import training_items
from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import IngestReport, ingest
from kg.catalogue.pictures import Pictures
from kg.errors import JobError
from kg.graph.cypher import browse
from kg.home import Home
from kg.records import Box
from kg.settings import Settings
from kg.stores import Stores
from kg.vectors import generations
from workers.jobs import Job, list_jobs, submit_embed, submit_relate, wait

__all__ = [
    "Catalogue",
    "Example",
    "InstancesExample",
    "Tour",
    "instances_example",
    "prepare",
    "sample",
    "search_examples",
    "served",
]

ENCODER, CONFIG = "clip_style", "clip_style_tiny"
CHECKPOINT = "demo"  # its folder in the home's `models`
T = TypeVar("T")
Progress = Callable[[str, int, int | None], None]  # what, done, total
SHOWN = 3  # results of an example search


@dataclass(frozen=True)
class Catalogue:
    """What is ingested. `photo` and `words` are what the example searches ask with; empty: taken from the catalogue.

    Attributes:
        scene: a picture with several products; None: there is no example with one.
        boxes: of those products, for an encoder that does not find them itself.
    """

    table: Path
    images: Path | str | None
    columns: ColumnMap
    photo: Path | None = None
    words: str = ""
    scene: Path | None = None
    boxes: tuple[Box, ...] = ()


@dataclass
class Tour:
    """The steps taken, in order; `tell` takes a line about each, `bar` opens a progress bar for its time."""

    tell: Callable[[str], None]
    bar: Callable[[], AbstractContextManager[Progress]]
    started: float = field(default_factory=time.perf_counter)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def step(self, name: str, work: Callable[[Progress], T], said: Callable[[T], str]) -> T:
        """Do the work, and say what came of it and how long it took."""
        start = time.perf_counter()
        with self.bar() as progress:
            result = work(progress)
        seconds = round(time.perf_counter() - start, 2)
        self.steps.append({"step": name, "said": said(result), "seconds": seconds})
        self.tell(f"{name:10} {said(result)}  ({seconds:.1f} s)")
        return result


@dataclass(frozen=True)
class Example:
    """A search worth showing.

    Attributes:
        command: the same on the command line.
    """

    title: str
    command: str
    request: SearchRequest


@dataclass(frozen=True)
class InstancesExample:
    """A search by instances; `command` is the same on the command line."""

    title: str
    command: str
    request: InstancesRequest


def sample(settings: Settings, tour: Tour) -> Catalogue:
    """The sample catalogue, rendered into the home's cache unless it lies there."""
    from kg.sample import write_sample

    folder = settings.home / "cache" / "sample"
    paths = tour.step("sample", lambda progress: write_sample(folder), lambda paths: str(paths.table))
    query = json.loads(paths.queries.read_text(encoding="utf-8").splitlines()[0])
    photo = paths.queries.parent / query["image"]
    shelf = json.loads(paths.scenes.read_text(encoding="utf-8").splitlines()[0])
    boxes = tuple(tuple(found["box"]) for found in shelf["instances"])
    columns = ColumnMap.load(paths.map)
    return Catalogue(paths.table, paths.images, columns, photo, query["text"], paths.images / shelf["image"], boxes)


def prepare(stores: Stores, catalogue: Catalogue, tour: Tour) -> None:
    """Ingest, relate, train, embed."""
    folder = stores.home.models / CHECKPOINT
    report = tour.step("ingest", lambda progress: _ingest(stores, catalogue, progress), _counts)
    tour.step("relate", lambda progress: _relate(stores, report, progress), str)
    tour.step("train", lambda progress: _train(stores, folder, progress), str)
    tour.step("embed", lambda progress: _embed(stores, folder, progress), str)


def _ingest(stores: Stores, catalogue: Catalogue, progress: Progress) -> IngestReport:
    return ingest(
        stores,
        catalogue.table,
        catalogue.images,
        catalogue.columns,
        rejects=stores.home.log / "ingest.rejects.jsonl",
        progress=lambda seen: progress("ingest", seen.read, None),
    )


def _counts(report: IngestReport) -> str:
    counts = [f"{getattr(report, name)} {name}" for name in ("written", "updated", "unchanged", "rejected")]
    return ", ".join([*counts, f"{report.rows_per_s:.0f} rows/s"])


def _relate(stores: Stores, report: IngestReport, progress: Progress) -> str:
    changed = report.written + report.updated + report.removed
    if not changed and any((job.kind, job.state) == ("relate", "done") for job in list_jobs(stores)):
        return "entities are related already"
    job = _done(stores, submit_relate(stores), progress)
    return f"{job.done} entities compared"


def _train(stores: Stores, out: Path, progress: Progress) -> str:
    if (out / "config.json").is_file():
        return f"{out} is there already"
    from encoders.training import train  # torch, only where something is trained

    settings = stores.settings
    with closing(Pictures.from_settings(settings)) as pictures:
        report = train(
            ENCODER,
            training_items(stores, pictures),
            out,
            config=CONFIG,
            device=settings.device,
            cache=stores.home.cache / "features",
            cache_gb=settings.feature_cache_gb,
            on_progress=lambda stage, done, total, figures: progress(f"train: {stage}", done, total),
        )
    shown = ("i2t/R@1", "t2i/R@1")
    figures = [f"validation {name} {report.metrics[name]:.0f}" for name in shown if name in report.metrics]
    return ", ".join([f"{report.encoder} on {report.train_items} pictures, {report.epochs} epochs", *figures])


def _embed(stores: Stores, encoder: Path, progress: Progress) -> str:
    live = generations.live(stores)
    if live and live.encoder_path == str(encoder) and not generations.stale(stores, live):
        return f"generation {live.id} has everything already"
    job = _done(stores, submit_embed(stores, encoder), progress)
    return f"{job.done} products, generation {job.generation}, {job.rate:.0f}/s"


def _done(stores: Stores, job: Job, progress: Progress) -> Job:
    ended = wait(stores, job.id, lambda seen: progress(job.kind, seen.done, seen.total or None))
    if ended.state != "done":
        raise JobError(f"job {ended.id} is {ended.state}: {ended.error}", hint=f"`skugraph jobs {ended.id} --resume`")
    return ended


def search_examples(stores: Stores, catalogue: Catalogue) -> list[Example]:
    """Text, picture, both, and each inside a brand, a category, an entity's neighbourhood: on any catalogue."""
    graph = stores.graph

    def first(statement: str, **params: Any) -> dict[str, Any]:
        return next(iter(graph.read(statement, **params)), {})

    product = first(browse.ANY_PRODUCT)
    words = catalogue.words or product["title"]
    wanted: list[tuple[str, str, Mapping[str, str]]] = [("by words", words, {})]
    if catalogue.photo:
        photo = {"--image": str(catalogue.photo)}
        wanted += [("by picture", "", photo), ("by picture and words", words, photo)]
    else:
        wanted.append(("like a product", "", {"--like": product["id"]}))
    if brand := first(browse.ENTITIES, type="brand", limit=1):
        text = first(browse.CATEGORY_OF_BRAND, key=brand["key"]).get("text", words)
        wanted.append(("of one brand", text, {"--brand": brand["text"]}))
    if category := first(browse.ENTITIES, type="category", limit=1):
        text = first(browse.ATTRIBUTE_OF_CATEGORY, key=category["key"]).get("text", words)
        wanted.append(("in one category", text, {"--category": category["text"]}))
    if near := first(browse.BEST_CONNECTED):
        wanted.append(("near an entity", category.get("text", words), {"--near": near["key"]}))
    return [_example(title, text, options) for title, text, options in wanted]


def _example(title: str, text: str, options: Mapping[str, str]) -> Example:
    parts = ["skugraph", "search", *([text] if text else []), *(part for pair in options.items() for part in pair)]
    fields: dict[str, Any] = {"text": text, "k": SHOWN, "filters": {}}
    for option, value in options.items():
        if option == "--image":
            fields["image"] = Path(value).read_bytes()
        elif option == "--like":
            fields["like"] = value
        else:
            fields["filters"][option.removeprefix("--")] = value
    return Example(title, shlex.join([*parts, "-k", str(SHOWN)]), SearchRequest.model_validate(fields))


def instances_example(stores: Stores, catalogue: Catalogue) -> InstancesExample | None:
    """The products in one picture, where the catalogue has such a picture."""
    if catalogue.scene is None:
        return None
    config = json.loads((stores.home.models / CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    boxes = () if config.get("detector") else catalogue.boxes
    corners = [part for box in boxes for part in ("--box", ",".join(f"{value:g}" for value in box))]
    command = shlex.join(["skugraph", "instances", "--image", str(catalogue.scene), *corners, "-k", "1"])
    request = InstancesRequest(image=catalogue.scene.read_bytes(), boxes=boxes or None, k=1)
    return InstancesExample("every product in a picture", command, request)


@contextmanager
def served(settings: Settings) -> Iterator[Served]:
    """The API of this home: the one that runs already, or one for the time of the block."""
    running = Home(settings.home).read_run(RUN_NAME)
    if running is not None:
        yield Served(running["url"], wait=lambda: None, ours=False)
        return
    with serving(settings) as started:
        yield started
