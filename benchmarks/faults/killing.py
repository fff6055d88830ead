"""kill -9, at random: which process and when is drawn from a seed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.faults.rig import Rig

__all__ = ["Kill", "Killer"]

TRIES_S = 60.0  # longest wait for a process that is to be killed and is not there yet


@dataclass(frozen=True)
class Kill:
    """One that was done: which process, when (seconds after the start), and how long until all was whole again (None
    where that was not waited for)."""

    name: str
    pid: int
    after_s: float
    healed_s: float | None = None

    def json(self) -> dict[str, Any]:
        return asdict(self)


class Killer(threading.Thread):
    """Kills `count` times; `join` waits for its end.

    Args:
        rig: what is killed.
        count: how often.
        names: which processes; every one comes before any comes again.
        pause_s: least and longest time between two.
        heal: share of the kills after which it waits until all is whole again; after the others the next may hit what
            is still coming back.
        say: is told of each.
    """

    def __init__(
        self,
        rig: Rig,
        count: int,
        *,
        names: Sequence[str],
        seed: int = 0,
        pause_s: tuple[float, float] = (1.0, 6.0),
        heal: float = 0.5,
        say: Callable[[Kill], None] | None = None,
    ) -> None:
        super().__init__(name="killer", daemon=True)
        self.rig, self.count, self.names, self.pause_s, self.heal = rig, count, list(names), pause_s, heal
        self.kills: list[Kill] = []
        self.failure: Exception | None = None
        self._say = say or (lambda kill: None)
        self._chance, self._over = random.Random(seed), threading.Event()

    def run(self) -> None:
        began, order = time.monotonic(), list[str]()
        try:
            while len(self.kills) < self.count and not self._over.wait(self._chance.uniform(*self.pause_s)):
                if not order:
                    order = self._chance.sample(self.names, len(self.names))
                name, heal = order.pop(), self._chance.random() < self.heal
                pid = self._kill(name)
                if pid is None:
                    continue
                at = time.monotonic() - began
                kill = Kill(name, pid, at, self.rig.await_whole() if heal else None)
                self.kills.append(kill)
                self._say(kill)
            self.rig.await_whole()
        except Exception as error:  # told to who joins
            self.failure = error

    def _kill(self, name: str) -> int | None:
        end = time.monotonic() + TRIES_S
        while (pid := self.rig.kill(name)) is None:
            if time.monotonic() > end or self._over.wait(0.1):
                return None
        return pid

    def stop(self) -> None:
        """No further kill.

        Raises:
            TimeoutError: something did not come back.
        """
        self._over.set()
        self.finish()

    def finish(self) -> None:
        """Wait for the last kill, and until all is whole.

        Raises:
            TimeoutError: something did not come back.
        """
        self.join()
        if self.failure is not None:
            raise self.failure
