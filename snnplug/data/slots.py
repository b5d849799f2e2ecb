"""Frames out of worker processes: bytes in shared memory that is used again, widened on arrival.

torch puts every tensor of a worker into shared memory made for it: each page is then touched for
the first time twice, by the worker and by the process that trains, which takes longer than framing.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt
import torch
from torch import Tensor

from snnplug.kernels import native
from snnplug.kernels.arrival import take
from snnplug.mixed import Mixed

#: What comes with the frames of a batch: an array, or those of targets that are mixed.
Values: TypeAlias = "npt.NDArray[Any] | tuple[npt.NDArray[Any], ...]"

# A worker prepares two batches ahead unless told; more than this go the way of any other tensor.
_MOST = 4
# The flag takes a cache line for itself.
_HEAD_BYTES = 64
# Slots of living workers, in the process that receives, by worker and number.
_KNOWN: dict[tuple[int, int], Tensor] = {}


class Slot:
    """Shared memory of one batch; its first word is not zero while the batch is on its way."""

    def __init__(self, number: int, num_bytes: int) -> None:
        memory: Any = torch.empty(_HEAD_BYTES + num_bytes, dtype=torch.uint8)
        self.shared: Tensor = memory.share_memory_()
        self.key = (os.getpid(), number)
        self.is_known = False
        self._held = self.shared[:8].view(torch.int64).numpy()
        self._held[0] = 0

    @property
    def content(self) -> Tensor:
        """The bytes of a batch."""
        return self.shared[_HEAD_BYTES:]

    def is_free(self) -> bool:
        """Whether the batch that was here has arrived."""
        return bool(self._held[0] == 0)

    def send(self, shape: tuple[int, ...], widens: bool, rest: Sequence[Values]) -> Sent:
        """Return what stands for the batch between the processes."""
        self._held[0] = 1
        shared = None if self.is_known else self.shared
        self.is_known = True
        return Sent(self.key, shared, shape, widens, rest)


class Slots:
    """The slots of one worker, made when they are needed; a pickled copy has none."""

    def __init__(self) -> None:
        self._slots: list[Slot] = []

    def __getstate__(self) -> dict[str, Any]:
        return {"_slots": []}

    def free(self, num_bytes: int) -> Slot | None:
        """Return a slot for so many bytes; None if all are taken, or there are no kernels."""
        if native.library() is None:
            return None
        for slot in self._slots:
            if slot.is_free() and len(slot.content) >= num_bytes:
                return slot
        if len(self._slots) == _MOST:
            return None
        self._slots.append(Slot(len(self._slots), num_bytes))
        return self._slots[-1]


@dataclass(frozen=True)
class Sent:
    """A batch on its way: unpickled, it is a tuple of the frames and the other tensors."""

    key: tuple[int, int]
    shared: Tensor | None
    shape: tuple[int, ...]
    widens: bool
    rest: Sequence[Values]

    def __reduce__(self) -> tuple[Any, ...]:
        return _receive, (self.key, self.shared, self.shape, self.widens, self.rest)


def _receive(
    key: tuple[int, int],
    shared: Tensor | None,
    shape: tuple[int, ...],
    widens: bool,
    rest: Sequence[Values],
) -> tuple[Any, ...]:
    if shared is not None:
        alive = {process.pid for process in multiprocessing.active_children()}
        for other in [other for other in _KNOWN if other[0] not in alive]:
            del _KNOWN[other]
        _KNOWN[key] = shared
    shared = _KNOWN[key]
    dtype = torch.float32 if widens else torch.uint8
    frames = take(shared[_HEAD_BYTES:], shared[:8], shape, dtype)
    return (frames, *map(as_tensors, rest))


def as_tensors(values: Values) -> Tensor | Mixed:
    """Return an array as a tensor, and three of them as :class:`~snnplug.mixed.Mixed` targets."""
    if isinstance(values, tuple):
        return Mixed(*map(torch.from_numpy, values))
    return torch.from_numpy(values)
