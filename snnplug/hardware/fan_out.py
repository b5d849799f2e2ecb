"""How many outputs each input of a layer reaches, exactly, borders included."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

# torch's padding modes in numpy's words.
_PAD_MODE = {"zeros": None, "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@lru_cache(maxsize=256)
def axis_fan_out(
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    padding_mode: str = "zeros",
) -> npt.NDArray[np.int64]:
    r"""Return how many (output, tap) pairs read each position of one axis.

    A convolution reads position :math:`i = o s + k d - p` for output :math:`o` and tap :math:`k`.
    Convolutions are separable in this respect: the fan-out of a pixel is the product over its axes.

    Args:
        size: Length of the axis.
        kernel: Taps.
        stride: Step between outputs.
        padding: Positions added before and after.
        dilation: Step between taps.
        padding_mode: torch's word; all but ``"zeros"`` read positions a second time.

    Returns:
        Counts, ``(size,)``.

    Example:
        >>> axis_fan_out(5, kernel=3, stride=1, padding=(1, 1), dilation=1).tolist()
        [2, 3, 3, 3, 2]
    """
    mode = _PAD_MODE[padding_mode]
    positions = np.arange(size)
    if mode is None:
        padded = np.pad(positions, padding, constant_values=-1)
    else:
        padded = np.pad(positions, padding, mode=mode)  # type: ignore[call-overload]
    outputs = (len(padded) - dilation * (kernel - 1) - 1) // stride + 1
    read = padded[np.arange(outputs)[:, None] * stride + np.arange(kernel)[None, :] * dilation]
    return np.bincount(read[read >= 0].ravel(), minlength=size).astype(np.int64)
