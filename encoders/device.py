"""Which device to compute on, in which precision, in how many processes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kg.errors import BadSetting

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["choose_accelerator", "choose_device", "choose_precision"]

FLAGS = ("amx_bf16", "avx512_bf16")  # processors that multiply bfloat16 faster than float32


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


def choose_precision(name: str, device: str) -> str:
    """ "bf16" or "float32"; "auto" is bf16 where the device multiplies it faster: some processors, most GPUs."""
    if name != "auto":
        return name
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "float32"
    return "bf16" if device == "cpu" and _fast_bf16() else "float32"


def choose_accelerator(device: str, precision: str) -> Accelerator:
    """One process, or one of several that `accelerate launch` or `torchrun` started.

    Args:
        device: as `choose_device` gives it; of several processes each takes its own GPU.
        precision: as `choose_precision` gives it.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # else it keeps the precision of the first training of this process
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision="bf16" if precision == "bf16" else "no",
        # A loss that is switched off leaves its weights without a gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


@cache
def _fast_bf16() -> bool:
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and any(flag in flags.read_text(encoding="utf-8") for flag in FLAGS)
