"""The Celery application follows the settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from kg.settings import load_settings
from workers.app import make_app


@pytest.mark.parametrize("name", ["plain", "with space", "100%20", "a#b?c", "Größe"])
def test_the_results_lie_in_the_home_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    app = make_app(load_settings(home=home))
    assert make_url(app.conf.result_backend.removeprefix("db+")).database == str(home / "broker/results.sqlite")
