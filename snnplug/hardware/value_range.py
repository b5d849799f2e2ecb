"""Finding the operand of a tensor: the grid that its values lie on, if they lie on one."""

from __future__ import annotations

import torch
from torch import Tensor

from snnplug.hardware.operand import ANALOG, SILENT, TOLERANCE, Operand

# Currents show in the first few values that they are no spikes.
_PROBE = 2**10
_CHUNK = 2**18
_MOST_DISTINCT = 2**9


def operand_of(x: Tensor, seen: Operand = SILENT) -> Operand:
    """Return what the values of ``x`` are.

    Args:
        x: Any real tensor.
        seen: What came before; the result holds it too.

    Returns:
        The smallest class that holds all of the values. It does not depend on how the values are
        split over calls: the operand of a whole is the join of those of its parts.

    Example:
        >>> operand_of(torch.tensor([0.0, 1.0, 2.0])).kind, operand_of(torch.rand(9)).kind
        ('integer', 'analog')
    """
    flat = x.detach().reshape(-1)
    found = _extend(seen, flat[:_PROBE])
    for chunk in torch.split(flat[_PROBE:], _CHUNK):
        if found == ANALOG:
            break
        found = _extend(found, chunk)
    return found


def _extend(found: Operand, values: Tensor) -> Operand:
    """Return ``found`` with the values of one piece in it."""
    if found == ANALOG:
        return ANALOG
    values = values.to(torch.float64) if not values.is_floating_point() else values.float()
    while True:
        outside = values[_outside(values, found)]
        if outside.numel() == 0:
            return found
        found = found.join(Operand.of_values(_some(outside)))
        if found == ANALOG:
            return ANALOG


def _outside(values: Tensor, found: Operand) -> Tensor:
    """Say where a value is none of the levels found so far."""
    if found.levels is None or found == SILENT:
        return values != 0
    low, high = found.levels
    levels = (values / found.step).round_()
    fits = (levels * found.step - values).abs_() <= TOLERANCE * values.abs()
    return ~(fits & (levels >= low) & (levels <= high))


def _some(values: Tensor) -> list[float]:
    """Return a few distinct values, the extreme ones among them."""
    distinct = torch.unique(values)
    if distinct.numel() > _MOST_DISTINCT:
        distinct = torch.cat((distinct[: _MOST_DISTINCT // 2], distinct[-_MOST_DISTINCT // 2 :]))
    few: list[float] = distinct.tolist()
    return few
