"""Texts among the vectors of entities, by the graph encoder that made these."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kg import entity_vectors
from kg.errors import EncoderMismatch
from kg.settings import Settings
from kg.stores import Stores

__all__ = ["EntitySpace", "TextEncoder", "graph_encoder"]


class TextEncoder(Protocol):
    """What is asked of a graph encoder here."""

    @property
    def fingerprint(self) -> str: ...

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts as entities that nothing is linked to: (N, dim), unit rows."""
        ...


def graph_encoder(settings: Settings) -> Callable[[str], TextEncoder]:
    """Checkpoint folder → graph encoder; torch is imported at the first call."""

    def load(path: str) -> TextEncoder:
        import encoders  # slow, and of use only where entities have vectors

        return encoders.load_graph_encoder(path, device=settings.device)

    return load


class EntitySpace:
    """Opens the graph encoder of the live entity vectors at first use; threads may share it.

    Args:
        stores: both stores, open.
        load: checkpoint folder → graph encoder.
    """

    def __init__(self, stores: Stores, load: Callable[[str], TextEncoder]) -> None:
        self.stores, self.load = stores, load
        self._lock = threading.Lock()
        self._encoders: dict[tuple[str, str], TextEncoder] = {}

    def near(self) -> Callable[[Sequence[str], int, Sequence[str]], list[list[tuple[str, float]]]] | None:
        """Texts, k and types → the k nearest entities of each text: key, cosine. None where entities have no vectors.

        Raises:
            NotFound, BadInput: see `encoders.load_graph_encoder`.
            EncoderMismatch: the checkpoint is not the one that made the vectors.
            StoreDown: a store does not answer.
        """
        live = entity_vectors.live(self.stores)
        if live is None:
            return None
        encoder = self._encoder(live.encoder_path, live.fingerprint)

        def near(texts: Sequence[str], k: int, types: Sequence[str]) -> list[list[tuple[str, float]]]:
            return entity_vectors.nearest(self.stores, encoder.encode_texts(texts), k=k, types=types)

        return near

    def _encoder(self, path: str, fingerprint: str) -> TextEncoder:
        with self._lock:
            if (path, fingerprint) not in self._encoders:
                encoder = self.load(path)
                if encoder.fingerprint != fingerprint:
                    raise EncoderMismatch(
                        f"the graph encoder {path} has fingerprint {encoder.fingerprint}, but the entity vectors were "
                        f"made with {fingerprint}",
                        hint="`skugraph gnn` makes them anew",
                    )
                self._encoders = {(path, fingerprint): encoder}
            return self._encoders[path, fingerprint]
