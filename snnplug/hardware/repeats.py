"""Finding inputs that stay the same from one time step to the next."""

from __future__ import annotations

import torch
from torch import Tensor


class Repeats:
    """Remembers the last step of one layer's input.

    A network that is shown a still image computes the same currents in every step. A machine that
    keeps them has that work once. Memory is one step of one layer, whatever ``T`` is.
    """

    def __init__(self) -> None:
        self._last: Tensor | None = None

    def forget(self) -> None:
        """Begin a new sequence."""
        self._last = None

    def find(self, x: Tensor, steps: int) -> Tensor | None:
        """Return the rows of ``x`` that are equal to those of the step before, if there are any.

        Args:
            x: ``(steps * rows of a step, *)``, time first; of a loop, one step after the other.
            steps: Time steps in it; 0 if that is not known.
        """
        if steps == 0 or len(x) == 0:
            self._last = None
            return None
        batch = len(x) // steps
        before, same = self._last, []
        for now in torch.split(x, batch):
            if before is None or before.shape != now.shape:
                same.append(torch.zeros(batch, dtype=torch.bool, device=x.device))
            else:
                same.append((now == before).flatten(1).all(1))
            before = now
        if before is not None and (len(same) > 1 or not bool(same[0].all())):
            self._last = before.clone()
        where = torch.cat(same)
        return x[where] if bool(where.any()) else None
