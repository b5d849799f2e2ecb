"""Frames taken out of shared memory in one pass: as they are, or widened to float32."""

from __future__ import annotations

import ctypes
from math import prod
from typing import Any

import torch
from torch import Tensor

from snnplug.kernels import native


class _Arrival(ctypes.Structure):
    """``Arrival`` of native/arrival.h."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("widens", ctypes.c_int32),
        ("bytes", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("held", ctypes.c_void_p),
    )


def take(content: Tensor, held: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return frames from bytes, then set the word ``held`` to 0: the bytes may be written again.

    Needs the native library.

    Args:
        content: At least as many bytes as the frames have values, uint8.
        held: One word, int64.
        shape: Of the frames.
        dtype: float32 or uint8.
    """
    out = native.empty(shape, dtype)
    args = _Arrival(
        prod(shape),
        dtype == torch.float32,
        content.data_ptr(),
        out.data_ptr(),
        held.data_ptr(),
    )
    library: Any = native.library()
    library.snp_arrive(ctypes.byref(args), torch.get_num_threads())
    return out
