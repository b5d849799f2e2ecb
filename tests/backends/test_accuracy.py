"""The quickstart, shortened, learns as much by every backend of the processor, in float32.

In float32 the order of a sum decides a spike now and then, and trainings part: accuracies differ by
a few recordings. The backends are compared on the same test recordings by McNemar's exact test:
were two networks as good as each other, each recording that only one of them gets right would be a
coin toss. Two comparisons at 0.5 % refuse equal backends in at most one of a hundred changes of
numbers; the network as it was one epoch after the start, and two, five points worse, is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from math import comb
from typing import Any

import pytest
import torch
from torch import Tensor

from snnplug import backends
from snnplug.backends.base import Prepared
from snnplug.cli.recipes import packaged_recipes
from snnplug.cli.trained import Built, built_from

EPOCHS = 4
LEVEL = 0.005


@pytest.fixture(scope="module")
def recipe() -> Built:
    built = built_from(packaged_recipes()["quickstart"])
    for stage in ("fit", "test"):
        built.cli.datamodule.setup(stage)
    return built


def right(recipe: Built, run: Prepared) -> Tensor:
    """Return which test recordings are told apart."""
    run.network.eval()
    with torch.no_grad():
        batches = recipe.cli.datamodule.test_dataloader()
        return torch.cat([run(x)[0].sum(0).argmax(1) == y for x, y in batches])


def epochs(recipe: Built, backend: str) -> Iterator[Tensor]:
    """Train, and give :func:`right` after each epoch."""
    model: Any = recipe.model
    network = copy.deepcopy(recipe.network)
    torch.manual_seed(0)
    run = backends.get(backend).prepare(network)
    optimizer = model.optimizer(network.parameters())
    for _ in range(EPOCHS):
        network.train()
        for x, y in recipe.cli.datamodule.train_dataloader():
            optimizer.zero_grad()
            model.loss(run(x)[1], y).backward()
            optimizer.step()
        yield right(recipe, run)


def chance(first: Tensor, second: Tensor) -> float:
    """Return how probable so uneven a difference, or a worse one, is between equals."""
    only = int((first & ~second).sum()), int((second & ~first).sum())
    if sum(only) == 0:
        return 1.0
    tail = sum(comb(sum(only), k) for k in range(min(only) + 1))
    return min(1.0, 2 * tail / 2 ** sum(only))


def test_the_chance_of_a_difference_is_that_of_tossed_coins() -> None:
    def which(*at: int) -> Tensor:
        return torch.isin(torch.arange(12), torch.tensor(at))

    assert chance(which(0, 1), which(0, 1)) == 1
    assert chance(which(0, 1, 2, 3), which(8)) == pytest.approx(2 * (1 + 5) / 32)
    assert chance(which(*range(10)), which()) == pytest.approx(2 / 1024)


@pytest.mark.slow
def test_the_quickstart_learns_as_much_by_every_backend(recipe: Built) -> None:
    eager = [*epochs(recipe, "eager")]
    assert max(chance(eager[-1], early) for early in eager[:2]) < LEVEL  # this can fail
    assert eager[-1].double().mean() > 0.88
    for backend in ("fused", "compiled"):
        found = [*epochs(recipe, backend)][-1]
        assert chance(found, eager[-1]) > LEVEL, f"{backend}: {found.sum()} of {len(found)}"
