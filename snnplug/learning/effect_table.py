r"""How the effect of one train on another depends on their counts, by Monte Carlo.

For counts :math:`o_j` of the input and :math:`o_i` of the neuron, trains are drawn at random among
all that keep the refractory time. The effect :math:`e = \sum_t x_i[t]\, s_j[t]` of
:mod:`snnplug.kernels.spike_train` is a product of one factor of each train. The mean over all pairs
of the trains drawn is then the product of the means of the two, which takes one pass over each
train.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snnplug.errors import ArgumentError
from snnplug.files import cache_folder, write_whole
from snnplug.kernels.spike_train import SpikeTrainDynamics, adjoint
from snnplug.kernels.trains import SpikeTrains

# The authors' fit is of the fourth order, over 1000 draws; their tables end at 50 to 100 spikes.
_ORDER = 4
_DRAWS = 1000
_MOST = 100
_SEED = 1908_06378


@dataclass(frozen=True)
class EffectTable:
    r"""Effects as a polynomial of the neuron's count for each count of the input.

    .. math::
        e(o_j, o_i) \approx \sum_{m=0}^{4} c_m(o_j)\, (o_i / n)^m

    Attributes:
        coefficients: :math:`c_m`, ``(n + 1, 5)``, for :math:`o_j = 0 \ldots n`.
    """

    coefficients: Tensor

    @property
    def most(self) -> int:
        """Largest count :math:`n`; larger ones are taken for it."""
        return len(self.coefficients) - 1

    def terms(self, inputs: Tensor) -> list[Tensor]:
        r"""Return :math:`c_1 \ldots c_4` of counts, each of their shape."""
        which = inputs.round().clamp(0, self.most).long()
        rows = self.coefficients.to(inputs)[which]
        return [rows[..., m] for m in range(1, _ORDER + 1)]

    def derivative_terms(self, outputs: Tensor) -> list[Tensor]:
        """Return the derivatives of :math:`(o_i / n)^m`, m = 1 … 4, at counts."""
        part = outputs.clamp(max=self.most) / self.most
        return [m / self.most * part ** (m - 1) for m in range(1, _ORDER + 1)]

    def effect(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Return :math:`e` at counts of the input and of the neuron."""
        which = inputs.round().clamp(0, self.most).long()
        part = outputs.clamp(max=self.most) / self.most
        rows = self.coefficients.to(outputs)[which]
        return sum(rows[..., m] * part**m for m in range(_ORDER + 1))  # type: ignore[return-value]

    def derivative(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        r"""Return :math:`D = \partial e / \partial o_i` at counts of the input and the neuron."""
        pairs = zip(self.terms(inputs), self.derivative_terms(outputs), strict=True)
        return sum(x * y for x, y in pairs)  # type: ignore[return-value]


@lru_cache(maxsize=32)
def effect_table(
    tau_mem_steps: float, tau_syn_steps: float, refractory_steps: int, num_steps: int
) -> EffectTable:
    """Return the table of these neurons, from the cache or computed now.

    It is kept in memory and as a file with a checksum, under the folder that ``SNNPLUG_CACHE``
    names, else under ``snnplug`` in the user's cache folder. A damaged file is computed anew. The
    draws have a seed of their own: everybody gets the same table.

    Args:
        tau_mem_steps: Time constant of the membrane.
        tau_syn_steps: Time constant of the synaptic current.
        refractory_steps: Refractory time.
        num_steps: Steps of a sequence.

    Raises:
        ArgumentError: A sequence is too short for a spike.

    Example:
        >>> table = effect_table(64.0, 8.0, 2, 50)
        >>> table.most
        16
    """
    most = min(_MOST, (num_steps - 1) // (refractory_steps + 1))
    if most < 1:
        raise ArgumentError(
            f"num_steps is {num_steps}; a neuron cannot spike in it, take 2 or more"
        )
    key = (tau_mem_steps, tau_syn_steps, refractory_steps, num_steps, most, _DRAWS, _ORDER, _SEED)
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    path = cache_folder() / f"effects-{name}.npy"
    coefficients = _read(path, most)
    if coefficients is None:
        dynamics = SpikeTrainDynamics(1.0, tau_mem_steps, tau_syn_steps, refractory_steps)
        coefficients = _fit(mean_effects(dynamics, num_steps, most))
        _write(path, coefficients)
    return EffectTable(torch.from_numpy(coefficients))


def mean_effects(
    dynamics: SpikeTrainDynamics, num_steps: int, most: int, draws: int = _DRAWS
) -> npt.NDArray[np.float64]:
    """Return the mean effect of trains of each count on trains of each count.

    Args:
        dynamics: Of the neuron; its threshold plays no part.
        num_steps: Steps of a sequence.
        most: Largest count.
        draws: Trains of each count.

    Returns:
        ``(most + 1, most + 1)``, by the input's count and the neuron's.
    """
    rng = np.random.default_rng(_SEED)
    sent = np.zeros((most + 1, num_steps))
    heard = np.zeros((most + 1, num_steps))
    for count in range(1, most + 1):
        trains = random_trains(rng, count, draws, num_steps, dynamics.refractory_steps)
        sent[count] = trains.mean(1)
        spk = torch.from_numpy(trains.astype(np.float32)).unsqueeze(2)
        after = (torch.zeros(draws, 1), torch.zeros(draws, 1))
        x = adjoint(SpikeTrains(spk), range(num_steps), after, dynamics)
        heard[count] = x.double().mean((1, 2)).numpy()
    effects: npt.NDArray[np.float64] = sent @ heard.T
    return effects


def random_trains(
    rng: np.random.Generator, count: int, draws: int, num_steps: int, refractory_steps: int
) -> npt.NDArray[np.bool_]:
    """Return trains of ``count`` spikes, any that keep the refractory time as likely as others.

    Returns:
        ``(num_steps, draws)``; step 0 is silent.
    """
    free = num_steps - 1 - (count - 1) * refractory_steps
    places = np.argsort(rng.random((draws, free)), axis=1)[:, :count]
    times = np.sort(places, axis=1) + 1 + refractory_steps * np.arange(count)
    trains = np.zeros((num_steps, draws), dtype=np.bool_)
    trains[times.T, np.arange(draws)] = True
    return trains


def _fit(effects: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the polynomial of each row by least squares."""
    most = len(effects) - 1
    powers = np.vander(np.arange(most + 1) / most, _ORDER + 1, increasing=True)
    solution: npt.NDArray[np.float64] = np.linalg.lstsq(powers, effects.T, rcond=None)[0].T
    return np.ascontiguousarray(solution)


def _read(path: Path, most: int) -> npt.NDArray[np.float64] | None:
    """Return what :func:`_write` wrote, or None if it is not there or not whole."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, data = content[:32], content[32:]
    if hashlib.sha256(data).digest() != digest:
        return None
    values: npt.NDArray[np.float64] = np.load(io.BytesIO(data), allow_pickle=False)
    return values if values.shape == (most + 1, _ORDER + 1) else None


def _write(path: Path, values: npt.NDArray[np.float64]) -> None:
    """Keep a table with its checksum; a cache that cannot be written is done without."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    data = buffer.getvalue()
    try:
        write_whole(path, hashlib.sha256(data).digest() + data)
    except ArgumentError:
        return
