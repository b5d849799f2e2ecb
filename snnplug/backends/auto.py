"""Fused or compiled, whichever a training step of this network is faster with, measured once."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from snnplug.backends.base import Backend, Prepared
from snnplug.backends.compiled import Compiled, one_step
from snnplug.backends.cuda import Cuda
from snnplug.backends.fused import Fused
from snnplug.errors import BackendError
from snnplug.files import cache_folder, write_whole
from snnplug.kernels import native

_REPEATS = 5


class Auto(Backend):
    """Choose between fused and compiled by timing both, and remember the choice on disk.

    The note of the prepared network says what was chosen and why. A network of the same layers on
    frames of the same shape, with as many threads, the same versions and the same kernels, is not
    timed again. Without an example nothing can be timed: the first frames have to be given.

    Args:
        compiler: As for :class:`~snnplug.backends.compiled.Compiled`.
    """

    name: ClassVar[str] = "auto"

    def __init__(self, compiler: str = "inductor") -> None:
        self._fused, self._compiled = Fused(), Compiled(compiler)

    def available(self) -> tuple[bool, str]:
        """Return True: fused is always there."""
        return True, "fused or compiled, whichever is faster: measured once per network and shape"

    def _prepared(self, network: nn.Module, example: Tensor | None) -> Prepared:
        if example is None:
            raise BackendError("backend 'auto' measures, so prepare(network, example) needs frames")
        if example.device.type == "cuda":
            return _noted(Cuda().prepare(network, example), "frames are on a CUDA device")
        runs, reason = self._compiled.available()
        if example.device.type != "cpu" or not runs:
            why = reason if example.device.type == "cpu" else f"frames are on {example.device}"
            return _noted(self._fused.prepare(network, example), why)
        path = cache_folder() / "backends" / f"{_key(network, example)}.json"
        found = _remembered(path)
        if found is None:
            try:
                found = _measured(self._fused, self._compiled, network, example)
            except BackendError as error:
                return _noted(self._fused.prepare(network, example), str(error))
            write_whole(path, json.dumps(found))
        chosen = self._fused if found["fused"] <= found["compiled"] else self._compiled
        times = ", ".join(f"{name} {ms:.2f} ms" for name, ms in found.items())
        return _noted(chosen.prepare(network, example), f"a step takes {times}")


def _noted(prepared: Prepared, why: str) -> Prepared:
    prepared.note = f"auto took {prepared.backend}: {why}"
    return prepared


def _measured(
    fused: Backend, compiled: Backend, network: nn.Module, example: Tensor
) -> dict[str, float]:
    """Return the milliseconds of a step with either; both take turns."""
    ready = {b.name: b.prepare(network, example) for b in (fused, compiled)}
    best = dict.fromkeys(ready, float("inf"))
    for _ in range(1 + _REPEATS):
        for name, prepared in ready.items():
            start = time.perf_counter()
            one_step(prepared, example)
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


def _remembered(path: Path) -> dict[str, float] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: float(found[name]) for name in ("fused", "compiled")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _key(network: nn.Module, example: Tensor) -> str:
    """Return a name for everything that the times depend on."""
    parts = [
        repr(network),
        *(f"{name} {tuple(p.shape)} {p.dtype}" for name, p in network.named_parameters()),
        f"{tuple(example.shape)} {example.dtype} {network.training} {torch.is_grad_enabled()}",
        f"{torch.is_autocast_enabled('cpu')} {torch.get_num_threads()}",
        f"{torch.__version__} {native.available()}",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
