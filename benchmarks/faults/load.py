"""Searches while things break: a few threads ask over REST, and every reply is written down."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

__all__ = ["Ask", "Judgement", "Reply", "SearchLoad", "answers", "judge"]

TIMEOUT_S = 120.0  # a search waits for a store that is away: longer than stores take to come back
Ask = dict[str, Any]  # body of POST /v1/search
Answers = dict[str, list[list[str]]]  # generation → ids of the hits of each question


@dataclass(frozen=True)
class Reply:
    """One search as its user saw it.

    Attributes:
        at, seconds: when it was sent (monotonic), and how long it took.
        ask: number of the question.
        status: of HTTP; 0 where no reply came.
        error: what came instead of hits.
    """

    at: float
    seconds: float
    ask: int
    status: int
    generation: str = ""
    requested: int = 0
    returned: int = 0
    stale: int = 0
    ids: tuple[str, ...] = ()
    error: str = ""


class SearchLoad:
    """Asks from `threads` threads until it is left; use with `with`.

    Args:
        url: of the API.
        asks: the questions, drawn at random.
        threads: of users, each of whom waits for the reply and then for `pause_s`.
        seed: of what is asked when.
        record: file that every reply is appended to as a line of JSON.
    """

    def __init__(
        self,
        url: str,
        asks: Sequence[Ask],
        *,
        threads: int = 2,
        pause_s: float = 0.05,
        seed: int = 0,
        record: Path | None = None,
    ) -> None:
        self.url, self.asks, self.pause_s, self.seed = url, asks, pause_s, seed
        self.replies: list[Reply] = []
        self._record = record.open("a", encoding="utf-8") if record else None
        self._lock, self._over = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._user, args=(n,), name=f"user-{n}") for n in range(threads)]

    def __enter__(self) -> SearchLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._record:
            self._record.close()

    def _user(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        with httpx.Client(base_url=self.url, timeout=TIMEOUT_S) as client:
            while not self._over.wait(self.pause_s):
                reply = ask(client, self.asks, chance.randrange(len(self.asks)))
                with self._lock:
                    self.replies.append(reply)
                    if self._record:
                        self._record.write(json.dumps(asdict(reply)) + "\n")


def ask(client: httpx.Client, asks: Sequence[Ask], number: int) -> Reply:
    """One search; whatever comes is a reply."""
    began = time.monotonic()
    try:
        answer = client.post("/v1/search", json=asks[number])
        body = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        return Reply(began, time.monotonic() - began, number, 0, error=f"{type(error).__name__}: {error}")
    took = time.monotonic() - began
    if answer.status_code != 200:
        return Reply(began, took, number, answer.status_code, error=str(body.get("detail", body)))
    ids = tuple(hit["product"]["id"] for hit in body["hits"])
    counts = {name: body[name] for name in ("requested", "returned", "stale")}
    return Reply(began, took, number, 200, body["generation"] or "", ids=ids, **counts)


def answers(url: str, asks: Sequence[Ask]) -> Answers:
    """What the generation that is live says to each question, asked while nothing else happens.

    Raises:
        RuntimeError: a search failed, or another generation became live meanwhile.
    """
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        replies = [ask(client, asks, number) for number in range(len(asks))]
    if bad := [reply for reply in replies if reply.status != 200]:
        raise RuntimeError(f"a search failed while nothing was killed: {bad[0]}")
    found = {reply.generation for reply in replies}
    if len(found) != 1:
        raise RuntimeError(f"several generations answered: {sorted(found)}")
    return {found.pop(): [list(reply.ids) for reply in replies]}


@dataclass
class Judgement:
    """What became of the searches of a run.

    Attributes:
        cut: no reply, while the API itself was away: it had been killed.
        failed: no reply or an error at any other time.
        short: fewer hits than asked for.
        mixed: hits that are not those of the generation that the reply names.
        p50_ms, p95_ms, worst_ms: of those that were answered.
    """

    searches: int = 0
    cut: int = 0
    failed: int = 0
    short: int = 0
    mixed: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    worst_ms: float = 0.0
    by_generation: dict[str, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        """Whether no search went wrong but those that the API was killed under."""
        return not (self.failed or self.short or self.mixed)

    def json(self) -> dict[str, Any]:
        return asdict(self)


def judge(
    replies: Sequence[Reply], right: Mapping[str, Sequence[Sequence[str]]], away: Callable[[float, float], bool]
) -> Judgement:
    """Hold the replies against what each generation answers when asked alone.

    Args:
        replies: of a run.
        right: generation → ids of the hits of each question.
        away: whether the API was away at some time between two.
    """
    found = Judgement(searches=len(replies))
    for reply in replies:
        fault = _fault(reply, right, away)
        if fault:
            setattr(found, fault, getattr(found, fault) + 1)
            if fault != "cut" and len(found.examples) < 10:
                found.examples.append({"fault": fault, **asdict(reply)})
        elif reply.generation:
            found.by_generation[reply.generation] = found.by_generation.get(reply.generation, 0) + 1
    times = [1000 * reply.seconds for reply in replies if reply.status == 200]
    if times:
        found.p50_ms, found.p95_ms, found.worst_ms = (float(np.percentile(times, p)) for p in (50, 95, 100))
    return found


def _fault(reply: Reply, right: Mapping[str, Sequence[Sequence[str]]], away: Callable[[float, float], bool]) -> str:
    if reply.status != 200:
        return "cut" if reply.status == 0 and away(reply.at, reply.at + reply.seconds) else "failed"
    if reply.returned != reply.requested or len(reply.ids) != reply.returned:
        return "short"
    if reply.generation not in right or list(reply.ids) != list(right[reply.generation][reply.ask]):
        return "mixed"
    return ""
