"""Graph, vectors and catalogue of skugraph. Imports neither torch nor anything above itself."""
