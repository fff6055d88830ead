"""Several processes train as one with the whole batch does. Here two on the CPU, as `accelerate launch` starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing
from torch.nn import functional

from encoders.contrast import contrast

SIZE, PROCESSES = 8, 2
SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from functools import partial
from conftest import COLOURS, SHAPES, draw
from encoders.data import TrainItem
from encoders.training import train
items = [TrainItem(f"{{c}}-{{s}}-{{n}}", f"{{c}}-{{s}}-{{n}}", f"a {{c}} {{s}}", partial(draw, c, s, n))
         for c in COLOURS for s in SHAPES for n in range(3)]
train("capture", items, Path({out!r}), config={config!r}, device="cpu")
"""


def batch() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    pictures, texts = (torch.randn(SIZE, 6, generator=draw) for _ in range(2))
    identity = torch.arange(SIZE)[:, None].repeat(1, 2)
    identity[5] = identity[2]  # the same product, in the other process's half
    return pictures, texts, identity


def gradients(kind: str, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, and gradients of the given rows."""
    pictures, texts, identity = batch()
    pictures, texts = (x[rows].clone().requires_grad_() for x in (pictures, texts))
    unit = (functional.normalize(x, dim=1) for x in (pictures, texts))
    loss = contrast(kind, *unit, torch.tensor(5.0), identity[rows])
    loss.backward()
    assert pictures.grad is not None
    assert texts.grad is not None
    return loss.detach(), pictures.grad, texts.grad


def half(rank: int, port: int, kind: str, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    rows = slice(rank * SIZE // PROCESSES, (rank + 1) * SIZE // PROCESSES)
    torch.save(gradients(kind, rows), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize("kind", ["nt_xent", "info_nce"])
def test_two_processes_contrast_with_each_other_s_items(kind: str, tmp_path: Path) -> None:
    multiprocessing.spawn(half, (free_port(), kind, str(tmp_path)), nprocs=PROCESSES)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)]
    loss, pictures, texts = gradients(kind, slice(0, SIZE))
    for part in parts:
        torch.testing.assert_close(part[0], loss)
    # What is trained gets the mean of the processes' gradients: each vector's is P times that of one process.
    for wanted, place in ((pictures, 1), (texts, 2)):
        found = torch.cat([part[place] for part in parts]) / PROCESSES
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)


@pytest.mark.slow
def test_a_training_in_two_processes(tmp_path: Path) -> None:
    from tests.encoders.test_region_training import small

    config = small(tmp_path, training__epochs=2, training__precision="float32")
    root, tests = str(Path(__file__).parents[2]), str(Path(__file__).parent)
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(root=root, tests=tests, out=str(tmp_path / "out"), config=str(config)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [*launch, str(script)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "out" / "training.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert lines[1]["loss"] < lines[0]["loss"]
    import encoders

    assert encoders.load(tmp_path / "out", device="cpu").encode_texts(["a red circle"]).shape == (1, 24)
    assert not list((tmp_path / "out").glob("tokens-*"))
