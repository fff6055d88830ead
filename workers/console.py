"""The application where Celery's own commands look for it: `celery -A workers.console flower`, `… inspect active`.

Workers are started otherwise (`python -m workers.process`): they open the stores first.
"""

from __future__ import annotations

from kg.settings import load_settings
from workers.app import make_app

__all__ = ["app"]

app = make_app(load_settings())
