"""Vectors of entities from the graph that connects them: layers, losses, sampling, judging.

`encoders.graph_encoder` puts them together; importing this package does not load torch.
"""
