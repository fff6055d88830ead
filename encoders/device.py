"""Which device to compute on."""

from __future__ import annotations

import torch

from kg.errors import BadSetting

__all__ = ["choose_device"]


def choose_device(name: str = "auto") -> str:
    """A name that torch takes; "auto" is the first GPU, else Apple's, else the CPU.

    Raises:
        BadSetting: the device is unknown or not on this machine.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=torch.device(name))
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        raise BadSetting(f"device {name!r} cannot be used: {str(error).splitlines()[0]}", hint="try auto") from error
    return name
