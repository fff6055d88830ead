"""The encoders that a worker process holds on its device: the one in use, and while a model is changed the other."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import encoders
from encoders.protocol import Encoder
from kg.home import Home
from kg.settings import Settings

__all__ = ["encoder_at"]


def encoder_at(folder: Path, settings: Settings) -> Encoder:
    """The encoder of this checkpoint folder; loaded anew only when the folder, its files or the settings change."""
    files = sorted((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in folder.iterdir())
    return _loaded(folder, tuple(files), settings)


@lru_cache(maxsize=2)
def _loaded(folder: Path, files: tuple[tuple[str, int, int], ...], settings: Settings) -> Encoder:
    return encoders.load(
        folder,
        device=settings.device,
        cache=Home(settings.home).cache / "features",
        cache_gb=settings.feature_cache_gb,
        batch=settings.encode_batch,
    )
