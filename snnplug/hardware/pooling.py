"""Reading the calls of pooling modules and functions."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from snnplug.hardware.fan_out import Counts, adaptive_axis_fan_out, axis_taps, outer
from snnplug.hardware.ledger import Ledger


def functional_pool(
    ledger: Ledger, within: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> bool:
    """Enter a pooling function; False if ``name`` is none, or is called in an unusual way."""
    kind = name.removesuffix("_with_indices")
    axes = pool_axes(kind)
    if not axes or not args or not isinstance(args[0], Tensor):
        return False
    after = out[0] if isinstance(out, tuple) else out
    keys = ("kernel_size", "stride", "padding")
    settings = {**dict(zip(keys, args[1:], strict=False)), **kwargs}
    _enter_pool(ledger, f"{within}.{kind}", kind, args[0], after, settings)
    return True


def pool_module(
    ledger: Ledger, name: str, m: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    """Enter the call of a pooling module."""
    after = out[0] if isinstance(out, tuple) else out
    settings = {key: getattr(m, key, None) for key in ("kernel_size", "stride", "padding")}
    _enter_pool(
        ledger,
        name,
        getattr(m, "counts_as", type(m).__name__),
        args[0] if args else next(iter(kwargs.values())),
        after,
        settings,
    )


def _enter_pool(
    ledger: Ledger, name: str, kind: str, x: Tensor, out: Tensor, settings: dict[str, Any]
) -> None:
    axes = pool_axes(kind)
    fan_out = None
    if "avg" in kind.lower():
        sizes, outputs = tuple(x.shape[-axes:]), tuple(out.shape[-axes:])
        if "adaptive" in kind.lower():
            fan_out = outer(
                [adaptive_axis_fan_out(a, b) for a, b in zip(sizes, outputs, strict=True)]
            )
        else:
            kernel = _each(settings["kernel_size"], axes)
            stride = _each(settings.get("stride") or kernel, axes)
            padding = _each(settings.get("padding") or 0, axes)
            fan_out = _windows(sizes, outputs, kernel, stride, padding)
    ledger.pool(name, kind, x, axes + 1, fan_out)


@lru_cache(maxsize=64)
def _windows(
    sizes: tuple[int, ...],
    outputs: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
) -> Counts:
    """Return in how many windows of a pooling each place lies."""
    axes = zip(sizes, outputs, kernel, stride, padding, strict=True)
    return outer([axis_taps(n, k, s, (p, p), 1, outputs=o).sum(1) for n, o, k, s, p in axes])


def pool_axes(kind: str) -> int:
    """Return over how many axes a pooling class or function goes, 0 if it is none."""
    plain = kind.lower().replace("_", "").removeprefix("adaptive")
    is_pool = plain[:-2] in ("maxpool", "avgpool") and plain[-1] == "d"
    return int(plain[-2]) if is_pool else 0


def _each(value: Any, axes: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    return values * axes if len(values) == 1 else values
