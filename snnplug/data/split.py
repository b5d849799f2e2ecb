"""Holding out a validation set: seeded, class by class or by whole groups such as speakers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from snnplug.errors import ArgumentError


def stratified_split(
    targets: Sequence[int] | npt.NDArray[np.integer], fraction: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split indices into a kept and a held-out part, class by class.

    Args:
        targets: Class of each sample.
        fraction: Share to hold out of each class, rounded to the nearest number of samples.
        seed: The same seed holds out the same samples.

    Returns:
        Indices kept and indices held out, each in ascending order; together all, once.

    Raises:
        ArgumentError: ``fraction`` is outside (0, 1), or nothing would be held out or kept.

    Example:
        >>> kept, held_out = stratified_split([0, 0, 0, 0, 1, 1, 1, 1], fraction=0.25, seed=0)
        >>> len(kept), len(held_out)
        (6, 2)
    """
    if not 0.0 < fraction < 1.0:
        raise ArgumentError(f"the share held out is {fraction}; it has to lie between 0 and 1")
    classes = np.asarray(targets)
    rng = np.random.default_rng(seed)
    held_out = [
        rng.permutation(np.flatnonzero(classes == label))[: round(fraction * count)]
        for label, count in zip(*np.unique(classes, return_counts=True), strict=True)
    ]
    chosen = np.sort(np.concatenate(held_out)) if held_out else np.empty(0, dtype=np.int64)
    kept = np.setdiff1d(np.arange(len(classes)), chosen)
    if len(chosen) == 0 or len(kept) == 0:
        raise ArgumentError(
            f"holding out {fraction:g} of {len(classes)} samples leaves {len(kept)} to train on "
            f"and {len(chosen)} to validate on; give more samples or another share"
        )
    return kept.astype(np.int64), chosen.astype(np.int64)


def group_split(
    groups: Sequence[str], fraction: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split indices into a kept and a held-out part that have no group in common.

    Args:
        groups: Group of each sample, such as its speaker.
        fraction: Share of the groups to hold out, rounded to the nearest number, at least one.
        seed: The same seed holds out the same groups.

    Returns:
        Indices kept and indices held out, each in ascending order; together all, once.

    Raises:
        ArgumentError: ``fraction`` is outside (0, 1), or no group would be kept.

    Example:
        >>> kept, held_out = group_split(["ann", "bob", "ann", "cid"], fraction=0.3, seed=0)
        >>> len(kept) + len(held_out)
        4
    """
    if not 0.0 < fraction < 1.0:
        raise ArgumentError(f"the share held out is {fraction}; it has to lie between 0 and 1")
    names = np.asarray(groups)
    distinct = np.unique(names)
    count = max(1, round(fraction * len(distinct)))
    if count >= len(distinct):
        raise ArgumentError(
            f"holding out {fraction:g} of {len(distinct)} groups leaves none to train on; give "
            "samples of more groups or a smaller share"
        )
    chosen = np.random.default_rng(seed).permutation(distinct)[:count]
    is_held_out = np.isin(names, chosen)
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
