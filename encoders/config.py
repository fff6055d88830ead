"""Training configs: JSON files under encoders/configs, or the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kg.errors import BadInput, NotFound

__all__ = ["CONFIGS", "load_config"]

CONFIGS = Path(__file__).parent / "configs"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Picture(_Part):
    backbone: str
    size: int = Field(gt=0)  # pixels


class _Text(_Part):
    backbone: str
    places: int = Field(ge=2)  # tokens


class _Training(_Part):
    epochs: int = Field(ge=1)
    batch: int = Field(ge=2)
    rate: float = Field(gt=0)  # of learning, at its highest
    weight_decay: float = Field(ge=0)
    warmup: float = Field(ge=0, lt=1)  # share of all steps
    clip: float = Field(gt=0)  # largest norm of a gradient
    mirrored: bool


class _Config(_Part):
    encoder: str
    picture: _Picture
    text: _Text
    model: dict[str, Any]  # each architecture has its own
    training: _Training


def load_config(name: str | Path, *, epochs: int | None = None) -> dict[str, Any]:
    """A config by the name of a packaged one ("clip_style", "clip_style_tiny"), or by its path.

    Args:
        name: the file ends in .json.
        epochs: instead of the file's.

    Raises:
        NotFound: there is no such file.
        BadInput: it is not JSON, a part is missing or unknown, or a value is out of range.
    """
    path = Path(name) if str(name).endswith(".json") else CONFIGS / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.json")))
        raise NotFound(
            f"encoder config {str(name)!r} does not exist", hint=f"there are {known}, and paths to .json files"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if epochs is not None:
            config["training"]["epochs"] = epochs
        return _Config.model_validate(config).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{path}: {where} = {first.get('input')!r}: {first['msg']}", field=where) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is no config: {error!r}", hint="see encoders/configs") from error
