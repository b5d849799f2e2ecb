"""Static images to sequences: the same image at every step, or fresh Bernoulli spikes."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError


class Encoding(nn.Module, ABC):
    """Turns static values ``(B, *)`` into a sequence ``(T, B, *)``.

    Args:
        num_steps: Time steps :math:`T` in evaluation, and in training unless the next is given.
        train_num_steps: Time steps in training.

    Raises:
        ArgumentError: A number of steps is not positive.
    """

    def __init__(self, num_steps: int, train_num_steps: int | None = None) -> None:
        super().__init__()
        if num_steps < 1 or (train_num_steps is not None and train_num_steps < 1):
            raise ArgumentError(
                f"num_steps is {num_steps}, train_num_steps {train_num_steps}; both have to be at "
                "least 1"
            )
        self.num_steps = num_steps
        self.train_num_steps = train_num_steps or num_steps

    def restart(self) -> None:
        """Begin an evaluation anew: the same spikes as in every other one."""

    @abstractmethod
    def forward(self, values: Tensor) -> Tensor:
        """Return the sequence."""


class DirectEncoding(Encoding):
    r"""The same values at every step: :math:`x[t] = v`.

    Shape:
        - input: ``(B, *)``; output: ``(T, B, *)``, a view that repeats the input

    Hardware: values that are not 0 or 1 are priced as multiplications in the first layer, at every
    step.

    Example:
        >>> DirectEncoding(num_steps=3)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([3, 2, 1, 28, 28])
    """

    def forward(self, values: Tensor) -> Tensor:
        """Return the sequence."""
        steps = self.train_num_steps if self.training else self.num_steps
        return values.expand(steps, *values.shape)


class BernoulliEncoding(Encoding):
    r"""Spikes drawn anew at every step: :math:`x[t] \sim \mathrm{Bernoulli}(r\,v)`, v in [0, 1].

    Training draws from torch's generator. Evaluation draws from a seed of its own, so that a
    validation neither disturbs the training nor depends on it.

    Args:
        num_steps: Time steps in evaluation.
        train_num_steps: Time steps in training; SNN-DC trains on one.
        seed: Seed of the evaluation.
        max_rate: :math:`r`, spikes per step of the largest value.

    Shape:
        - input: ``(B, *)`` in [0, 1]; output: ``(T, B, *)`` of zeros and ones

    Raises:
        ArgumentError: ``max_rate`` is not above 0 and at most 1.

    Hardware: binary input, an accumulation per synapse that a spike reaches.

    Example:
        >>> spk = BernoulliEncoding(num_steps=4).eval()(torch.full((2, 3), 0.5))
        >>> spk.shape, bool(((spk == 0) | (spk == 1)).all())
        (torch.Size([4, 2, 3]), True)

    Reference:
        S. Yin et al., BioCAS 2017: one Bernoulli sample of the pixels per time step. Y. Jin, W.
        Zhang, P. Li, NeurIPS 2018, have ``max_rate`` 1/5.5 and 400 steps.
    """

    def __init__(
        self,
        num_steps: int,
        train_num_steps: int | None = None,
        seed: int = 0,
        max_rate: float = 1.0,
    ) -> None:
        super().__init__(num_steps, train_num_steps)
        if not 0 < max_rate <= 1:
            raise ArgumentError(f"max_rate is {max_rate}; it has to be above 0 and at most 1")
        self.max_rate = max_rate
        self.seed = seed
        self._drawn = 0

    def restart(self) -> None:
        """Begin an evaluation anew: the same spikes as in every other one."""
        self._drawn = 0

    def forward(self, values: Tensor) -> Tensor:
        """Return the sequence."""
        steps = self.train_num_steps if self.training else self.num_steps
        shape = (steps, *values.shape)
        generator = None
        if not self.training:
            generator = torch.Generator(values.device).manual_seed(self.seed + self._drawn)
            self._drawn += 1
        noise = torch.rand(shape, dtype=values.dtype, device=values.device, generator=generator)
        return (noise < self.max_rate * values).to(values.dtype)
