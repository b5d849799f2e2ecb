"""What compiling takes: ``python -m tests.benchmarks.backends --compile``.

The network is 64-R128-11 on 100 steps of 32, forward and backward: in float32, where kernels do the
work of the neurons, and in float64, where each loop over time is a scan. Every process is a new
one; the first of two finds empty folders for what torch, the C++ compiler and the user keep.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

import snnplug as sp
from snnplug import backends

#: By what the rows are called.
KINDS = {"kernels": torch.float32, "scan": torch.float64}
_FOLDERS = ("TORCHINDUCTOR_CACHE_DIR", "HOME", "TMPDIR", "XDG_CACHE_HOME")


def compiled_s(kind: str) -> list[float]:
    """Compile a training step here; return seconds of this process and of its children."""
    inputs, hidden, outputs = 64, 128, 11
    torch.manual_seed(0)
    network = sp.SpikingSequential(
        nn.Linear(inputs, hidden), sp.RLeaky(beta=0.9, linear_features=hidden),
        nn.Linear(hidden, outputs), sp.Leaky(beta=0.9),
    ).to(KINDS[kind])  # fmt: skip
    frames = (torch.rand(100, 32, inputs) < 0.2).to(KINDS[kind])
    before = _spent_s()
    backends.get("compiled").prepare(network, frames)
    return [after - start for after, start in zip(_spent_s(), before, strict=True)]


def _spent_s() -> list[float]:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return [usage.ru_utime + usage.ru_stime for usage in usages]


def table() -> str:
    """Return a table of seconds of processor time."""
    lines = [
        "| s of processor time | first process | of these C++ | later process |",
        "|---|--:|--:|--:|",
    ]
    for kind in KINDS:
        with TemporaryDirectory() as root:
            (mine, theirs), later = (_in_new_process(kind, Path(root)) for _ in range(2))
        lines.append(f"| {kind} | {mine + theirs:.1f} | {theirs:.1f} | {sum(later):.1f} |")
    return "\n".join(lines)


def _in_new_process(kind: str, root: Path) -> list[float]:
    folders = {name: str(root / name.lower()) for name in _FOLDERS}
    for folder in folders.values():
        Path(folder).mkdir(exist_ok=True)
    code = (
        "import json; from tests.benchmarks.compile_time import compiled_s\n"
        f"print(json.dumps(compiled_s({kind!r})))"
    )
    environment = os.environ | folders | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found
