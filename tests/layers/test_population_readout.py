"""Several output neurons per class: equal to snnTorch's population code, counted, exported."""

from __future__ import annotations

import pytest
import torch
from snntorch import functional

import snnplug as sp
from snnplug.backends.ipu import check_ipu, training_step
from snnplug.errors import ArgumentError
from snnplug.networks.leaky import LeakySNN
from snnplug.training.losses import CountCrossEntropy


def spikes(*shape: int) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.4).float()


def test_loss_and_accuracy_are_those_of_snntorchs_population_code() -> None:
    spk, targets = spikes(7, 6, 12).requires_grad_(), torch.arange(6) % 3
    out = sp.PopulationReadout(3, per_class=4)(spk)
    theirs = functional.ce_count_loss(population_code=True, num_classes=3)(spk, targets)
    ours = CountCrossEntropy()(out, targets)
    torch.testing.assert_close(ours, theirs)
    (grad,) = torch.autograd.grad(ours, spk, retain_graph=True)
    (wanted,) = torch.autograd.grad(theirs, spk)
    torch.testing.assert_close(grad, wanted)
    right = (out.sum(0).argmax(1) == targets).float().mean().item()
    theirs = functional.accuracy_rate(spk.detach(), targets, population_code=True, num_classes=3)
    assert right == pytest.approx(theirs)


def test_of_one_neuron_it_is_the_identity_and_the_mean_is_a_share() -> None:
    spk = spikes(5, 2, 6)
    assert torch.equal(sp.PopulationReadout(6, 1)(spk), spk)
    mean = sp.PopulationReadout(2, 3, reduce="mean")(spk)
    assert torch.equal(mean[..., 0], spk[..., :3].mean(-1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single(dtype: torch.dtype) -> None:
    assert sp.PopulationReadout(1, 3001)(torch.ones(1, 3001, dtype=dtype)).item() == 3001


def test_the_hardware_model_counts_its_additions_and_nothing_else() -> None:
    def elementwise(population: int) -> list[tuple[int, int]]:
        net = LeakySNN((6,), 3, hidden=(8,), population=population).eval()
        with sp.measure(net) as meter, torch.no_grad():
            net(torch.ones(5, 2, 6))
        counted = meter.activity()
        assert counted.unpriced == ()
        return [(layer.adds, layer.multiplies) for layer in counted.layers if layer.kind == "sum"]  # type: ignore[union-attr]

    assert elementwise(1) == []
    assert elementwise(4) == [(3 * 3 * 5 * 2, 0)]  # classes, additions of each, steps, samples


def test_a_network_with_it_learns_in_one_step_of_time() -> None:
    torch.manual_seed(0)
    net = LeakySNN((9,), 3, hidden=(32,), population=10)
    x = spikes(1, 30, 9)
    targets = torch.arange(30) % 3
    x[0, torch.arange(30), 3 * targets] = 1
    x[0, torch.arange(30), (3 * targets + 3) % 9] = 0
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(60):
        loss = CountCrossEntropy()(net(x), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (net(x).sum(0).argmax(1) == targets).float().mean() > 0.9


@pytest.mark.parametrize("half", [False, True])
def test_a_bundle_has_it(half: bool) -> None:
    torch.manual_seed(0)
    net = LeakySNN((6,), 3, hidden=(8,), population=4).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(4)
    x, targets = spikes(5, 2, 6), torch.tensor([0, 2])
    step = training_step(net, CountCrossEntropy(), half)
    counts, _ = step(x, targets)
    assert counts.any()
    assert counts.dtype is torch.float32
    if not half:
        assert torch.equal(counts, net(x).sum(0))
    assert check_ipu(step, (x, targets)).findings == ()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"takes \(\*, 6\): 2 neurons for each of 3 classes"):
        sp.PopulationReadout(3, 2)(torch.zeros(4, 7))
    with pytest.raises(ArgumentError, match="per_class is 0"):
        sp.PopulationReadout(3, 0)
    with pytest.raises(ArgumentError, match="reduce is 'max'"):
        sp.PopulationReadout(3, 2, reduce="max")  # type: ignore[arg-type]
