"""How near the worker's pipeline, from the file to the vector store, comes to the encoder alone.

    python -m benchmarks.embedding [--size N] [--quick] [--encoder DIR]... --out FILE

Pictures are rendered and stored as JPEG files. The worker's own steps embed them, on embedded stores in a temporary
home, with the cache of features empty each time. The baseline is the pure forward pass: the same pictures, decoded and
made small beforehand, through the same encoder, in the same process, without a cache. Both are measured in turn, and
the medians compared.

Decoding and the stores need processor time too. On a machine whose cores the forward pass keeps busy, that time adds to
it, however well the stages overlap: no pipeline is then faster than the forward pass's share of all processor time.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

import encoders
from benchmarks.figures import Figure, write_figures
from encoders.data import TrainItem
from encoders.protocol import Encoder, SmallPictures
from encoders.training import train
from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import ingest
from kg.catalogue.pictures import decode
from kg.home import Home
from kg.migrate import migrate
from kg.sample import SamplePaths, write_sample
from kg.settings import Settings, load_settings
from kg.stores import Stores, open_stores, running, stop_stores
from workers.device import encoder_at
from workers.jobs import get_job, submit_embed
from workers.rows import region_rule
from workers.stages import Stages
from workers.tasks import step
from workers.tasks.embed import embed_step

GOAL = 0.95
GRAIN = 4  # levels of noise in an enlarged picture: its file then has the size of a photo's
MAP = {"fields": {"id": "id", "title": "title", "pictures": "picture"}}
TRAINED = ("clip_style", "capture")
STAGES = ("decode", "shrink", "propose", "encode", "upsert", "graph", "pipeline")
SERVERS = ("graph", "vectors")


@dataclass(frozen=True)
class Case:
    """One thing to measure: an encoder on pictures of `side` pixels, with at most `regions` regions of each."""

    encoder: Path
    name: str
    side: int
    regions: int = 0

    @property
    def title(self) -> str:
        return f"{self.name}, {self.side} px" + (f", up to {self.regions} regions" if self.regions else "")


@dataclass
class Times:
    """Of one case, each list with one entry a round, in seconds for all pictures; `cpu` as processor time."""

    count: int = 0
    forward: list[float] = field(default_factory=list)
    forward_cpu: list[float] = field(default_factory=list)
    job: list[float] = field(default_factory=list)
    job_cpu: list[float] = field(default_factory=list)
    servers: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SERVERS})
    wall: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STAGES})
    cpu: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STAGES})

    def figures(self, title: str) -> Iterator[Figure]:
        each, pipeline = 1000 / self.count, _median(self.wall["pipeline"])
        rate, alone = self.count / pipeline, self.count / _median(self.forward)
        yield Figure(
            f"{title}: decode to upsert", rate, "pictures/s", alone, f"ratio of at least {GOAL}", rate / alone >= GOAL
        )
        beside = _median([job - inside for job, inside in zip(self.job, self.wall["pipeline"], strict=True)])
        yield Figure(f"{title}: once a job, to make collections and go live", beside, "s")
        servers = {f"the {name} server": _median(values) for name, values in self.servers.items()}
        total, alone_cpu = _median(self.job_cpu) + sum(servers.values()), _median(self.forward_cpu)
        yield Figure(f"{title}: processor time, forward alone of all", alone_cpu * each, "ms a picture", total * each)
        shares = {name: _median(self.cpu[name]) for name in ("decode", "shrink", "upsert", "graph")}
        shares["propose and encode"] = max(0.0, _median(self.job_cpu) - sum(shares.values()))
        for name, seconds in (shares | servers).items():
            yield Figure(f"{title}: processor time, {name}", seconds * each, "ms a picture", total * each)
        for name in ("propose", "encode"):
            yield Figure(f"{title}: time in {name}", _median(self.wall[name]) * each, "ms a picture", pipeline * each)


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


# pictures and encoders


def photos(sample: SamplePaths, folder: Path, side: int, count: int) -> Path:
    """A table of `count` listings, each with a JPEG file of its own whose shorter side has `side` pixels."""
    folder.mkdir(parents=True)
    table = folder / "listings.csv"
    shown = sorted(sample.images.glob("*.jpg"))
    if len(shown) < count:
        raise ValueError(f"the sample has {len(shown)} photos, {count} are wanted")
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "picture"])
        for path in shown[:count]:
            with Image.open(path) as image:
                scale = side / min(image.size)
                size = (round(image.width * scale), round(image.height * scale))
                pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS), np.int16)
            grain = np.random.default_rng(side).integers(-GRAIN, GRAIN + 1, (*pixels.shape[:2], 1))
            Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(folder / path.name, quality=85)
            writer.writerow([path.stem, f"Photo {path.stem}", path.name])
    return table


def trained(name: str, sample: SamplePaths, out: Path, count: int) -> Path:
    """A checkpoint of one epoch: how well it does is of no matter here."""

    def opened(path: Path) -> Callable[[], Image.Image]:
        return lambda: decode(path.read_bytes(), name=path.name)

    shown = sorted(sample.images.glob("*.jpg"))[:count]
    items = [TrainItem(p.stem, p.stem, f"photo {p.stem}", opened(p)) for p in shown]
    return Path(train(name, items, out, epochs=1, device="auto", cache=out.parent / "training").folder)


# what is measured


def forward(encoder: Encoder, images: Sequence[Image.Image], batch: int, regions: int, score: float) -> None:
    """The encoder alone; with regions, the detector and the regions that the worker would choose."""
    rule = region_rule(encoder, regions, score)
    for start in range(0, len(images), batch):
        some = images[start : start + batch]
        if rule is None:
            encoder.encode_images(some)
            continue
        boxes = []
        for image, found in zip(some, rule.encoder.propose(some), strict=True):
            kept = found.boxes[found.scores >= score][:regions]
            boxes.append(np.concatenate([np.array([(0, 0, *image.size)], np.float32), kept]))
        rule.encoder.encode_regions(some, boxes)


def prepared(table: Path, encoder: Encoder, regions: int) -> list[Image.Image]:
    """Decoded pictures in memory, as small as the encoder sees them where it takes them as a whole."""
    shown = [decode(path.read_bytes(), name=path.name) for path in sorted(table.parent.glob("*.jpg"))]
    return [encoder.shrink(i) for i in shown] if isinstance(encoder, SmallPictures) and not regions else shown


def embed(stores: Stores, encoder: Path, stages: Stages) -> int:
    """All steps of one job, as a worker takes them; how many products it did."""
    job = submit_embed(stores, encoder)

    def work(stores: Stores, job: object) -> bool:
        return embed_step(stores, get_job(stores, name), stages=stages)

    name = job.id
    while not get_job(stores, name).over:
        step(stores, name, work)
    return get_job(stores, name).done


@contextmanager
def catalogue(stores: Stores, table: Path) -> Iterator[None]:
    """The table ingested; everything is gone afterwards."""
    ingest(stores, table, table.parent, ColumnMap.parse(MAP))
    try:
        yield
    finally:
        forget(stores)


def forget(stores: Stores, what: str = "NOT n:Migration") -> None:
    """Remove the nodes of which `what` is true, and all vectors."""
    query = f"MATCH (n) WHERE {what} WITH n LIMIT 2000 DETACH DELETE n RETURN count(*) AS gone"
    while stores.graph.write(query)[0]["gone"]:
        pass
    client = stores.vectors.connection.client
    for name in stores.vectors.collections():
        for alias in client.list_aliases(name)["aliases"]:
            client.drop_alias(alias)
        stores.vectors.drop(name)


def cpu_of_servers(home: Home) -> dict[str, float]:
    """Processor seconds that each embedded store has used so far."""
    times = {name: psutil.Process(at["pid"]).cpu_times() for name, at in (running(home) or {}).items()}
    return {name: used.user + used.system for name, used in times.items()}


def measure(stores: Stores, table: Path, case: Case, rounds: int, folder: Path) -> Times:
    """Forward and pipeline in turn; a first round, in which servers and caches warm up, is not counted."""
    times = Times()
    for number in range(rounds + 1):
        if number == 1:
            times = Times()
        home = folder / f"{case.name}-{case.side}-{case.regions}-{number}"
        settings: Settings = stores.settings.model_copy(
            update={"home": Home(home).create().root, "embed_kinds": ("image",), "embed_regions": case.regions}
        )
        own = Stores(settings, stores.graph, stores.vectors_uri)
        batch, score = settings.encode_batch, settings.embed_region_score
        cache = home / "alone" if case.regions else None  # the tokens that the detector saw are for the encoder too
        alone = encoders.load(case.encoder, device=settings.device, cache=cache, batch=batch)
        images = prepared(table, alone, case.regions)
        started, spent = time.perf_counter(), time.process_time()
        forward(alone, images, batch, case.regions, score)
        times.forward.append(time.perf_counter() - started)
        times.forward_cpu.append(time.process_time() - spent)

        encoder_at(case.encoder, settings)  # loading it is no part of the rate
        stages, elsewhere = Stages(), cpu_of_servers(stores.home)
        started, spent = time.perf_counter(), time.process_time()
        times.count = embed(own, case.encoder, stages)
        times.job.append(time.perf_counter() - started)
        times.job_cpu.append(time.process_time() - spent)
        for name, used in cpu_of_servers(stores.home).items():
            times.servers[name].append(used - elsewhere[name])
        if times.count != len(images):
            raise ValueError(f"{times.count} products were embedded, not {len(images)}")
        for name in STAGES:
            times.wall[name].append(stages.wall[name])
            times.cpu[name].append(stages.cpu[name])
        forget(own, "n:Job OR n:Generation")
        own.vectors.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=320, help="pictures")
    parser.add_argument("--sides", type=int, nargs="+", default=[800, 400, 1600], help="shorter sides in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--regions", type=int, default=6, help="most regions of a picture, where there is a detector")
    parser.add_argument("--quick", action="store_true", help="64 pictures of one size, one round")
    parser.add_argument("--encoder", type=Path, action="append", default=[], help="checkpoint; default: trained here")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    count, rounds, sides = options.size, options.rounds, options.sides
    if options.quick:
        count, rounds, sides = min(count, 64), 1, sides[:1]
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        sample = write_sample(folder / "sample", products=max(16, count * 2 // 3))
        checkpoints = [path.absolute() for path in options.encoder] or [
            trained(name, sample, folder / name, min(count, 96)) for name in TRAINED if name in encoders.ENCODERS
        ]
        home = Home(folder / "home")
        try:
            with open_stores(load_settings(home=home.root, stores_linger_s=5)) as stores:
                migrate(stores.graph)
                for side in sides:
                    table = photos(sample, folder / f"photos-{side}", side, count)
                    with catalogue(stores, table):
                        for path in checkpoints:
                            for regions in (0, options.regions):
                                if regions and not _sees(path, regions):
                                    continue
                                case = Case(path, path.name, side, regions)
                                times = measure(stores, table, case, rounds, folder)
                                figures += times.figures(case.title)
        finally:
            stop_stores(home)
    write_figures(figures, options.out)


def _sees(path: Path, regions: int) -> bool:
    return bool(regions) and getattr(encoders.load(path, cache=None), "detector", None) is not None


if __name__ == "__main__":
    main()
