"""The few functions that pricing needs, for one number or for an array of them alike.

For plain numbers they are Python's own; an array gives, element by element, the very same floats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Any

#: A number, or a numpy array of them when a whole grid is priced at once.
Number = Any


def is_plain(*values: Number) -> bool:
    """Whether none of the values is an array."""
    return all(isinstance(value, int | float) for value in values)


def ceil(x: Number) -> Number:
    """Round up.

    Example:
        >>> ceil(2.5)
        3.0
    """
    if is_plain(x):
        return float(math.ceil(x))
    import numpy as np

    return np.ceil(x)


def larger(a: Number, b: Number) -> Number:
    """Return the larger of two numbers."""
    if is_plain(a, b):
        return max(a, b)
    import numpy as np

    return np.maximum(a, b)


def smaller(a: Number, b: Number) -> Number:
    """Return the smaller of two numbers."""
    if is_plain(a, b):
        return min(a, b)
    import numpy as np

    return np.minimum(a, b)


def where(condition: Any, a: Number, b: Number) -> Number:
    """Return ``a`` where the condition holds, else ``b``; both are computed."""
    if isinstance(condition, bool):
        return a if condition else b
    import numpy as np

    return np.where(condition, a, b)


def divide(a: Number, b: Number) -> Number:
    """Return ``a / b``, and 0 where ``b`` is 0."""
    if is_plain(a, b):
        return a / b if b else 0.0
    import numpy as np

    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    return np.divide(a, b, out=np.zeros(a.shape), where=b != 0)


def holds(condition: Any) -> bool:
    """Whether a condition holds everywhere."""
    if isinstance(condition, bool):
        return condition
    import numpy as np

    return bool(np.all(condition))


def add_up(values: Iterable[Number]) -> Number:
    """Return the sum, from the first to the last.

    Python's own ``sum`` of floats carries along what rounding loses, in new versions: then arrays
    would not give the same floats.
    """
    return reduce(add, values, 0.0)
