"""Spike trains kept for a backward pass: one bit per spike that might be."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

import torch
from torch import Tensor

from snnplug.kernels import native, native_spike_train
from snnplug.kernels.spike_linear import product_of_bits, weight_gradient_of_bits

# Rows (steps x samples) that are worked on at a time: bounds the memory of a pass, whatever T.
_ROWS = 4096
# Up to this share of spikes, going from one to the next beats the dense product.
_FEW = 0.15


class SpikeTrains:
    """Trains ``(T, B, N)``: bits where the native kernels can read them, else one byte each.

    Values other than 0 and 1 are kept as they are.

    Args:
        x: ``(T, B, N)``, contiguous.
    """

    def __init__(self, x: Tensor) -> None:
        self.shape = x.shape
        self.dtype = x.dtype
        self.device = x.device
        self.words: Tensor | None = None
        self.ones: list[int] = []
        if native.takes(x, multiplies=False) and x.numel():
            kept = [native_spike_train.bits_of(x[p.start : p.stop].flatten(0, 1)) for p in self]
            if not any(graded for _, _, graded in kept):
                self.words = torch.cat([words for words, _, _ in kept])
                self.ones = [ones for _, ones, _ in kept]
        if self.words is None:
            is_spike = bool(((x == 0) | (x == 1)).all())
            self._values = x.to(torch.bool) if is_spike else x.detach()

    @property
    def kept(self) -> Tensor:
        """What holds the spikes: 64 of a row to a word, or the values."""
        return self._values if self.words is None else self.words

    def holding(self, kept: Tensor | None) -> SpikeTrains:
        """Return the same trains that hold this: nothing, where autograd keeps it, or that again.

        What autograd keeps is seen by its hooks, checked for changes in place, and freed with the
        graph.
        """
        other = copy(self)
        if self.ones:
            other.words = kept
        elif kept is not None:
            other._values = kept
        else:
            del other._values
        return other

    @property
    def values(self) -> Tensor:
        """The trains as one tensor, of bools if they are spikes; only where there are no bits."""
        return self._values

    def __iter__(self) -> Iterator[range]:
        """Give the parts of time that are worked on one after the other."""
        steps, batch = self.shape[:2]
        size = max(1, _ROWS // max(batch, 1))
        return (range(t, min(t + size, steps)) for t in range(0, steps, size))

    def parts(self) -> list[range]:
        """Return the parts of time, in order."""
        return list(self)

    def rows(self, part: range) -> Tensor:
        """Return some steps as values, ``(steps * B, N)``."""
        if self.words is not None:
            return native_spike_train.rows_of_bits(self._words(part), self.shape[2])
        return self.values[part.start : part.stop].flatten(0, 1).to(self.dtype)

    def counts(self) -> Tensor:
        """Return the sums over time, ``(B, N)``."""
        if self.words is not None:
            return native_spike_train.sum_at_bits(self.words, None, self.shape)
        return self.values.sum(0, dtype=self.dtype)

    def sum_at_spikes(self, y: Tensor, part: range) -> Tensor:
        """Return the sum over some steps of the trains times ``y (steps * B, N)``: ``(B, N)``."""
        shape = torch.Size((len(part), *self.shape[1:]))
        if self.words is not None:
            return native_spike_train.sum_at_bits(self._words(part), y, shape)
        return (y.view(shape) * self.values[part.start : part.stop]).sum(0)

    def product_at_spikes(self, y: Tensor, weight: Tensor, part: range) -> Tensor:
        """Return the sum over some steps of the trains times ``y @ weight``.

        Args:
            y: ``(steps * B, M)``.
            weight: ``(M, N)``.
            part: The steps.

        Returns:
            ``(B, N)``.
        """
        if self.words is not None and native.takes(y, weight) and self._share(part) < _FEW:
            shape = torch.Size((len(part), *self.shape[1:]))
            known = (self._words(part), y.contiguous(), weight, shape)
            return native_spike_train.product_at_bits(*known)
        return self.sum_at_spikes(y @ weight, part)

    def times(self, weight: Tensor, part: range) -> Tensor:
        """Return some steps times the transposed ``weight (M, N)``: ``(steps * B, M)``."""
        if self.words is not None:
            known = (self._words(part), self.shape[2], self._ones(part))
            product = product_of_bits(*known, weight)
            if product is not None:
                return product
        return self.rows(part) @ weight.t()

    def weight_gradient(self, grad: Tensor, part: range) -> Tensor:
        """Return ``grad (steps * B, M)``, transposed, times some steps: ``(M, N)``."""
        if self.words is not None:
            known = (self._words(part), self.shape[2], self._ones(part))
            product = weight_gradient_of_bits(grad, *known, large_only=False)
            if product is not None:
                return product
        return grad.t() @ self.rows(part)

    def pairwise(self, y: Tensor, part: range) -> Tensor:
        """Return the sum over some steps of ``y (steps * B, M)`` x the trains: ``(B, M, N)``."""
        steps, batch, features = len(part), self.shape[1], self.shape[2]
        if self.words is not None and native.takes(y) and self._share(part) < _FEW:
            shape = torch.Size((steps, batch, features))
            return native_spike_train.outer_at_bits(self._words(part), y.contiguous(), shape)
        y, x = y.view(steps, batch, -1), self.rows(part).view(steps, batch, features)
        return torch.bmm(y.permute(1, 2, 0), x.permute(1, 0, 2))

    def revived(self, where: Tensor, spikes: int) -> SpikeTrains:
        """Return these trains with a regular one for each neuron ``where (B, N)`` says.

        Args:
            where: Neurons that are silent.
            spikes: How many spikes they get, evenly spaced.
        """
        steps = self.shape[0]
        x = torch.cat([self.rows(part) for part in self]).view(self.shape)
        every = max(1, steps // spikes)
        x[every::every, where] = 1
        return SpikeTrains(x)

    def _words(self, part: range) -> Tensor:
        assert self.words is not None  # noqa: S101
        batch = self.shape[1]
        return self.words[part.start * batch : part.stop * batch]

    def _share(self, part: range) -> float:
        """Return which share of one of :meth:`parts` is spikes."""
        return self._ones(part) / max(1, len(part) * self.shape[1] * self.shape[2])

    def _ones(self, part: range) -> int:
        """Return the spikes of one of :meth:`parts`."""
        size = max(1, _ROWS // max(self.shape[1], 1))
        return self.ones[part.start // size]
