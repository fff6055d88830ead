"""`python -m api.cli` is `skugraph`."""

from __future__ import annotations

from api.cli import main

main()
