"""The native library: found, loaded, and asked what it is; everything works without it, slower."""

from __future__ import annotations

import ctypes
import os
from importlib import import_module
from math import prod
from pathlib import Path

import torch  # before the library, so that both share one OpenMP runtime
from torch import Tensor
from torch.nn import Parameter

from snnplug.kernels import execution

# From so many bytes on the C library may take an array fresh from the system each time.
_POOL_FROM = 128 * 1024
_NAMES = ("libsnnplug_kernels.so", "libsnnplug_kernels.dylib", "libsnnplug_kernels.dll")


def _find() -> Path | None:
    """Return the library, from beside this file or from where an editable install put it."""
    folders = [Path(__file__).parent, *map(Path, import_module("snnplug.kernels").__path__)]
    found = [folder / name for folder in folders for name in _NAMES]
    return next((path for path in found if path.is_file()), None)


def _load() -> ctypes.CDLL | None:
    path = None if os.environ.get("SNNPLUG_NATIVE") == "0" else _find()
    if path is None:
        return None
    try:
        lib = ctypes.CDLL(str(path))
    except OSError:
        return None
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    lib.snp_isa.restype = ctypes.c_char_p
    lib.snp_neurons_forward.argtypes = [pointer, ctypes.c_int]
    lib.snp_neurons_backward.argtypes = [pointer, ctypes.c_int]
    lib.snp_recurrent_forward.argtypes = [pointer, ctypes.c_int]
    lib.snp_recurrent_backward.argtypes = [pointer, ctypes.c_int]
    lib.snp_recurrent_backward.restype = integer
    lib.snp_count_spikes.argtypes = [
        *(pointer, integer, integer),
        *(ctypes.c_float, pointer, ctypes.c_int),
    ]
    lib.snp_count_spikes.restype = integer
    lib.snp_count_bits.argtypes = [pointer, integer, integer, pointer]
    lib.snp_count_bits.restype = None
    lib.snp_spike_bits.argtypes = [pointer, *[integer] * 3, pointer, pointer, ctypes.c_int]
    lib.snp_spike_bits.restype = integer
    lib.snp_spike_scratch.argtypes = [*[integer] * 3, ctypes.c_int]
    lib.snp_spike_scratch.restype = integer
    lib.snp_spike_linear_forward.argtypes = [pointer, ctypes.c_int]
    lib.snp_spike_linear_backward.argtypes = [pointer, ctypes.c_int]
    lib.snp_spike_conv_scratch.argtypes = [pointer, ctypes.c_int]
    lib.snp_spike_conv_scratch.restype = integer
    lib.snp_spike_conv_forward.argtypes = [pointer, ctypes.c_int]
    lib.snp_spike_conv_backward.argtypes = [pointer, ctypes.c_int]
    lib.snp_pooled_conv_scratch.argtypes = [pointer, ctypes.c_int]
    lib.snp_pooled_conv_scratch.restype = integer
    lib.snp_pooled_conv_forward.argtypes = [pointer, ctypes.c_int]
    lib.snp_pooled_conv_backward.argtypes = [pointer, ctypes.c_int]
    lib.snp_spike_train_forward.argtypes = [pointer, ctypes.c_int]
    lib.snp_spike_train_forward.restype = None
    lib.snp_spike_train_adjoint.argtypes = [pointer, ctypes.c_int]
    lib.snp_spike_train_adjoint.restype = None
    lib.snp_spike_rows.argtypes = [pointer, integer, integer, pointer, ctypes.c_int]
    lib.snp_spike_rows.restype = None
    lib.snp_sum_at_spikes.argtypes = [pointer, pointer, *[integer] * 3, pointer, ctypes.c_int]
    lib.snp_sum_at_spikes.restype = None
    lib.snp_outer_at_spikes.argtypes = [pointer, ctypes.c_int]
    lib.snp_outer_at_spikes.restype = None
    lib.snp_product_at_spikes.argtypes = [pointer, ctypes.c_int]
    lib.snp_product_at_spikes.restype = None
    lib.snp_step.argtypes = [pointer, pointer]
    lib.snp_step.restype = None
    lib.snp_step_events.argtypes = [pointer, pointer, integer]
    lib.snp_step_events.restype = integer
    lib.snp_crossings.argtypes = [pointer]
    lib.snp_crossings.restype = integer
    lib.snp_frames.argtypes = [pointer, ctypes.c_int]
    lib.snp_arrive.argtypes = [pointer, ctypes.c_int]
    lib.snp_arrive.restype = None
    lib.snp_parse_events.argtypes = [pointer]
    lib.snp_parse_events.restype = integer
    lib.snp_filter_events.argtypes = [pointer]
    lib.snp_filter_events.restype = integer
    lib.snp_pool_tensor.argtypes = [integer]
    lib.snp_pool_tensor.restype = pointer
    lib.snp_pool_limit.argtypes = [integer]
    lib.snp_pool_kept.restype = integer
    return lib


_LIBRARY = _load()


def library() -> ctypes.CDLL | None:
    """Return the loaded library, or None when it was not built or is switched off."""
    return _LIBRARY


def available() -> tuple[bool, str]:
    """Return whether the native kernels run here, and on which instruction set or why not."""
    if os.environ.get("SNNPLUG_NATIVE") == "0":
        return False, "switched off by SNNPLUG_NATIVE=0"
    if _find() is None:
        return False, "not built: no C++ compiler was found at install; install one and reinstall"
    lib = library()
    if lib is None:
        return False, f"{_find()} cannot be loaded; reinstall snnplug"
    return True, lib.snp_isa().decode()


def takes(*tensors: Tensor, multiplies: bool = True) -> bool:
    """Whether the kernels may take these now: plain float32 on the CPU, as they stand.

    Args:
        *tensors: What a kernel would read.
        multiplies: It is a matrix product, which autocast would take in another dtype.
    """
    return (
        all(
            type(t) in (Tensor, Parameter)
            and t.is_cpu
            and t.dtype == torch.float32
            and t.layout == torch.strided
            for t in tensors
        )
        and not (multiplies and torch.is_autocast_enabled("cpu"))
        and not torch.compiler.is_exporting()
        and not torch._C._are_functorch_transforms_active()
        and library() is not None
        and execution.fused()
    )


def release_memory() -> None:
    """Give the memory that the pool keeps for later outputs back to the system."""
    lib = library()
    if lib is not None:
        lib.snp_pool_clear()


def limit_memory(num_bytes: int) -> None:
    """Let the pool keep at most ``num_bytes`` for later outputs (1 GiB unless told)."""
    lib = library()
    if lib is not None:
        lib.snp_pool_limit(num_bytes)


def count_spikes(
    values: Tensor, sites: int, spike: float = 1.0
) -> tuple[int, Tensor | None] | None:
    """Count the spikes of a contiguous float32 tensor in one read.

    Args:
        values: Any shape; the last ``sites`` values of each row are counted apart.
        sites: How many counters to keep; 1 counts all together.
        spike: The value of a spike, which float32 holds.

    Returns:
        The number of spikes and the counters ``(sites,)``, int64, None for one; or None when a
        value is neither 0 nor a spike, or there is no native library.
    """
    lib = library()
    if lib is None:
        return None
    counts = torch.zeros(sites, dtype=torch.int64) if sites > 1 else None
    where = None if counts is None else counts.data_ptr()
    rows, threads = values.numel() // sites, torch.get_num_threads()
    total = lib.snp_count_spikes(values.data_ptr(), rows, sites, spike, where, threads)
    return None if total < 0 else (total, counts)


def count_bits(bits: Tensor, features: int) -> Tensor:
    """Count, for each feature, the rows in which its bit is set.

    Args:
        bits: 64 features to a word, ``(rows, words)``, contiguous int64.
        features: How many of them there are.

    Returns:
        Counts ``(features,)``, int64.
    """
    rows, words = bits.shape
    counts = torch.zeros(64 * words, dtype=torch.int64)
    lib = library()
    assert lib is not None  # noqa: S101  # it has made the bits
    lib.snp_count_bits(bits.data_ptr(), rows, words, counts.data_ptr())
    return counts[:features]


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


def empty(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a tensor with any content, from the pool if it is large.

    A fresh large array costs a page fault every 4 KiB; memory used before does not.
    """
    count = prod(shape)
    num_bytes = count * dtype.itemsize
    lib = library() if num_bytes >= _POOL_FROM else None
    managed = lib.snp_pool_tensor(-(-num_bytes // 4)) if lib is not None else None
    if not managed:
        return torch.empty(shape, dtype=dtype)
    flat: Tensor = torch.utils.dlpack.from_dlpack(_new_capsule(managed, b"dltensor", None))
    if dtype != torch.float32:
        flat = flat.view(torch.uint8)[:num_bytes].view(dtype)
    return flat.view(shape)
