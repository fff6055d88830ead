"""Vectors of entities that know the graph: `train_graph_encoder`, and the adaptive graph by itself."""

from __future__ import annotations

from encoders.graph.adaptive import adaptive_graph

__all__ = ["adaptive_graph"]
