"""What the routes share: the stores, opened once, and the searcher with its warm encoder."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack

from api.auth import Keys, keys_wanted
from api.limits import RateLimit
from api.load import LoadReporter
from api.models import SearchRequest
from api.search import Searcher
from encoders.protocol import Encoder
from kg.catalogue.pictures import Pictures
from kg.errors import SkugraphError
from kg.settings import Settings
from kg.stores import Stores, open_stores
from kg.vectors.generations import live
from kg.vectors.switching import settle

__all__ = ["Backend", "query_encoder"]

log = logging.getLogger("skugraph.api")


def query_encoder(settings: Settings) -> Callable[[str], Encoder]:
    """Checkpoint folder → encoder for queries; torch is imported at the first call."""

    def load(path: str) -> Encoder:
        import encoders  # slow, and of use only where something is live

        return encoders.load(path, device=settings.device, batch=settings.encode_batch)

    return load


class Backend:
    """Opens lazily and again after a failure, so the API may start before its stores answer.

    Args:
        settings: of this process.
        token: a key of admin scope that lives as long as this process (how the command line reaches its own API).
    """

    def __init__(self, settings: Settings, *, token: str = "") -> None:
        self.settings, self.token = settings, token
        self.keys = Keys.of(settings) if keys_wanted(settings) else None
        self.pictures = Pictures.from_settings(settings)
        self.rates = RateLimit(settings.rate_limit_per_minute)
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._stores: Stores | None = None
        self._searcher: Searcher | None = None
        self._warming: threading.Thread | None = None
        self._load = LoadReporter(lambda: self.stores) if settings.embed_yield_ms else None

    @property
    def stores(self) -> Stores:
        """Raises:
        StoreDown: the graph does not answer.
        """
        with self._lock:
            if self._stores is None:
                self._stores = self._open.enter_context(open_stores(self.settings))
            return self._stores

    @property
    def searcher(self) -> Searcher:
        """Raises:
        StoreDown: see `stores`.
        """
        stores = self.stores
        with self._lock:
            if self._searcher is None:
                self._searcher = Searcher(stores, query_encoder(self.settings))
            return self._searcher

    def missing(self) -> dict[str, str]:
        """What keeps this process from serving, each with the reason; empty when it is ready."""
        checks: dict[str, Callable[[], object]] = {
            "graph": lambda: self.stores.graph.ping(),
            "vectors": lambda: self.stores.vectors.collections(),
        }
        missing = {}
        for name, check in checks.items():
            try:
                check()
            except SkugraphError as error:
                missing[name] = str(error)
        return missing

    def warm(self) -> None:
        """Open the stores, let the graph follow the alias and make one search, all in the background, so that the first
        user does not wait for the encoder; a failure is logged, and met again by the request that needs the same."""

        def work() -> None:
            try:
                settle(self.stores)
                self.stores.resident.start()
                if live(self.stores):
                    self.searcher.search(SearchRequest(text="warm", k=1))
            except SkugraphError as error:
                log.warning("not warm yet: %s", error)

        self._warming = threading.Thread(target=work, name="warm", daemon=True)
        self._warming.start()
        if self._load is not None and self._load.ident is None:
            self._load.start()

    def close(self) -> None:
        if self._load is not None:
            self._load.stop()
        if self._warming is not None:
            self._warming.join()  # connections are not closed under its hands
        self._open.close()
        self.pictures.close()
