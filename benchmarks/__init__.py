"""One module a question; each prints a table and writes JSON. `python -m benchmarks` runs them all."""
