"""What becomes of a decay that a number format cannot represent."""

from __future__ import annotations

import warnings

from torch import Tensor

#: A time constant may move by this share before it is worth a warning.
TOLERANCE = 0.01


class DecayWarning(UserWarning):
    """A decay is rounded so that the membrane forgets at another speed, or not at all."""


def time_constant(decay: Tensor) -> Tensor:
    r"""Return :math:`\tau = 1 / (1 - \beta)` in time steps, in float64; infinite for no leak.

    Args:
        decay: Factor kept per step, :math:`\beta`.

    Example:
        >>> import torch
        >>> time_constant(torch.tensor([0.9, 1.0], dtype=torch.float64)).tolist()
        [10.000000000000002, inf]
    """
    return 1 / (1 - decay.detach().double().clamp(0, 1))


def warn_if_rounded(name: str, wanted: Tensor, kept: Tensor) -> None:
    """Warn if the time constant is another one after rounding, by more than 1 %.

    Args:
        name: Of the decay, for the message.
        wanted: Before rounding.
        kept: After it.

    Example:
        >>> import torch
        >>> warn_if_rounded("beta", torch.tensor(0.5), torch.tensor(0.5).bfloat16())
        >>> with warnings.catch_warnings(record=True) as said:
        ...     warnings.simplefilter("always")
        ...     warn_if_rounded("beta", torch.tensor(0.99), torch.tensor(0.99).bfloat16())
        >>> print(said[0].message)  # doctest: +ELLIPSIS
        beta 0.99000001 is 0.988281 in bfloat16: its time constant is 85.3 steps, not 100...
    """
    if kept.dtype == wanted.dtype or not kept.is_floating_point() or kept.numel() == 0:
        return
    before, after = time_constant(wanted).flatten(), time_constant(kept).flatten()
    moved = (after / before - 1).abs().nan_to_num(0.0, posinf=float("inf"))  # inf / inf: as it was
    worst = int(moved.argmax())
    if moved[worst] <= TOLERANCE:
        return
    value, rounded = wanted.flatten()[worst].item(), kept.flatten()[worst].item()
    says = (
        "the membrane does not leak"
        if after[worst].isinf()
        else f"its time constant is {after[worst]:.3g} steps"
    )
    others = int((moved > TOLERANCE).sum()) - 1
    warnings.warn(
        f"{name} {value:.9g} is {rounded:.6g} in {str(kept.dtype)[6:]}: {says}, not "
        f"{before[worst]:.4g}{f' ({others} more are rounded)' if others else ''}; keep neurons in "
        "float32, as precision bf16-mixed and 16-mixed do",
        DecayWarning,
        stacklevel=3,
    )
