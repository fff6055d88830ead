"""Made-up catalogues of any size, to learn how this scales: deterministic, made shard by shard, in flat memory."""

from __future__ import annotations

from kg.scale.catalogue import Scale
from kg.scale.loading import Loaded, load
from kg.scale.writing import MAP, write

__all__ = ["MAP", "Loaded", "Scale", "load", "write"]
