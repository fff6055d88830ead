"""Training configs: JSON files under encoders/configs, or the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kg.errors import BadInput, NotFound

__all__ = ["CONFIGS", "load_config"]

CONFIGS = Path(__file__).parent / "configs"
PARTS = {"encoder", "picture", "text", "model", "training"}


def load_config(name: str | Path) -> dict[str, Any]:
    """A config by the name of a packaged one ("clip_style", "clip_style_tiny"), or by its path.

    Raises:
        NotFound: there is no such file.
        BadInput: it is not JSON, or a part is missing or unknown.
    """
    path = Path(name) if str(name).endswith(".json") else CONFIGS / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.json")))
        raise NotFound(
            f"encoder config {str(name)!r} does not exist", hint=f"there are {known}, and paths to .json files"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict) or set(config) != PARTS:
        raise BadInput(f"{path} must have the parts {', '.join(sorted(PARTS))}")
    return config
