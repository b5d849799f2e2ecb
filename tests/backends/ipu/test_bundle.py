"""The bundle: the same network in plain PyTorch, there and back, also on PopTorch's double."""

from __future__ import annotations

import inspect
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import snnplug as sp
from snnplug.backends.ipu import check_ipu, load_weights, training_step, write_bundle
from snnplug.backends.ipu.bundle import run, tensors
from snnplug.backends.ipu.export import tensors_of
from snnplug.errors import ArgumentError
from snnplug.networks.conv import ConvSNN
from snnplug.networks.dense import DenseSNN
from snnplug.networks.leaky import LeakySNN
from snnplug.training.losses import CountCrossEntropy, CountSquaredError, SquaredHinge
from tests.support import fake_poptorch

SHAPE, STEPS, BATCH = (2, 12, 12), 5, 4
NETWORKS = {
    "dense, continuous": lambda: DenseSNN(SHAPE, 3, hidden=[9]),
    "dense, discontinuous": lambda: DenseSNN(SHAPE, 3, hidden=[9], neuron="discontinuous"),
    "conv": lambda: ConvSNN(SHAPE, 3, channels=(3,), kernel_size=3),
    "leaky": lambda: LeakySNN(SHAPE, 3, hidden=[9]),
    "recurrent": lambda: LeakySNN(SHAPE, 3, hidden=[9], recurrent=True),
}


def loss_of(network: nn.Module) -> nn.Module:
    return CountCrossEntropy() if isinstance(network, LeakySNN) else SquaredHinge(shift=0.5)


def samples(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    frames = (torch.rand(STEPS, BATCH, *SHAPE, generator=generator) < 0.3).float()
    return frames, torch.randint(3, (BATCH,), generator=generator)


def built(name: str) -> nn.Module:
    torch.manual_seed(1)
    network = NETWORKS[name]().eval()
    if isinstance(network, LeakySNN):  # torch's own start leaves so small a network silent
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(4)
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_portable_networks_spike_and_learn_as_ours(name: str) -> None:
    network = built(name)
    step, (frames, targets) = training_step(network, loss_of(network)), samples()
    out = network(frames)
    spk, cur = out if isinstance(out, tuple) else (out, out)
    assert spk.any()
    counts, loss = step(frames, targets)
    assert torch.equal(counts, spk.sum(0))
    ours = loss_of(network)(cur, targets)
    torch.testing.assert_close(loss, ours)
    loss.backward()
    ours.backward()
    theirs = {
        f"{layer}.{key}": parameter.grad
        for layer, module in zip(step.network.names, step.network.chain, strict=True)
        for key, parameter in module.named_parameters()
    }
    for key, parameter in network.named_parameters():
        torch.testing.assert_close(theirs[key], parameter.grad, rtol=1e-5, atol=1e-7)


NEURONS = [
    (cls, reset, delay, detach)
    for cls, reset, delay, detach in itertools.product(
        ("Leaky", "Synaptic", "RLeaky", "RLeaky one", "RSynaptic"),
        ("subtract", "zero", "none"),
        (True, False),
        (True, False),
    )
]


def neuron(cls: str, reset: str, delay: bool, detach: bool) -> nn.Module:
    options = {
        "beta": torch.linspace(0.5, 0.95, 6),
        "reset_mechanism": reset,
        "reset_delay": delay,
        "detach_reset": detach,
        "learn_beta": True,
        "learn_threshold": True,
        "spike_grad": sp.FastSigmoid(slope=5.0),
    }
    if "Synaptic" in cls:
        options["alpha"] = 0.7
    if cls == "RLeaky one":
        options |= {"V": 0.4, "all_to_all": False}
    elif cls.startswith("R"):
        options["linear_features"] = 6
    return getattr(sp, cls.split()[0])(**options)


@pytest.mark.parametrize(("cls", "reset", "delay", "detach"), NEURONS)
def test_every_neuron_has_its_portable_form(
    cls: str, reset: str, delay: bool, detach: bool
) -> None:
    torch.manual_seed(2)
    network = sp.SpikingSequential(nn.Linear(5, 6), neuron(cls, reset, delay, detach))
    frames = 3 * torch.rand(7, BATCH, 5)
    step = training_step(network, CountCrossEntropy())
    spk, _ = step.network(frames)
    ours = network(frames)
    assert ours.any()
    assert torch.equal(spk, ours)
    upstream = torch.randn_like(ours)
    spk.backward(upstream)
    ours.backward(upstream)
    for (key, a), (_, b) in zip(
        network.named_parameters(), _in_order(step.network, network), strict=True
    ):
        torch.testing.assert_close(b.grad, a.grad, rtol=2e-5, atol=1e-6, msg=key)


def _in_order(portable: nn.Module, network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    held = {
        f"{layer}.{key}": parameter
        for layer, module in zip(portable.names, portable.chain, strict=True)
        for key, parameter in module.named_parameters()
    }
    return [(key, held[key]) for key, _ in network.named_parameters()]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_packaged_network_passes_the_static_checks(name: str) -> None:
    network = built(name)
    report = check_ipu(training_step(network, loss_of(network)), samples())
    assert report.findings == ()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    network = built("recurrent")
    report = write_bundle(
        tmp_path / "b", network, CountCrossEntropy(), SHAPE, STEPS, BATCH, lr=0.01
    )
    assert report.verdict == "passes static checks"
    frames, targets = samples()
    many = torch.cat([frames, frames[:, :1]], 1)
    np.save(tmp_path / "x.npy", many.to(torch.uint8).numpy())
    np.save(tmp_path / "y.npy", torch.cat([targets, targets[:1]]).numpy())
    return tmp_path


def arguments(folder: Path, what: str, device: str, out: str, *more: str) -> list[str]:
    files = ["--frames", f"{folder}/x.npy", "--out", f"{folder}/{out}", "--bundle", f"{folder}/b"]
    return [what, *files, "--device", device, *more]


def test_a_bundle_infers_and_trains_without_snnplug(bundle: Path) -> None:
    calls = [
        arguments(bundle, "infer", "cpu", "counts.npy"),
        arguments(bundle, "train", "cpu", "new.safetensors", f"--targets={bundle}/y.npy"),
    ]
    program = (
        "import sys; sys.modules['snnplug'] = sys.modules['snntorch'] = None\n"
        f"from snn_bundle.run import main\nfor call in {calls!r}: main(call)"
    )
    command = [sys.executable, "-c", program]
    subprocess.run(command, cwd=bundle / "b", check=True, capture_output=True)
    network = built("recurrent")
    with torch.no_grad():
        counts = network(torch.from_numpy(np.load(bundle / "x.npy")).float()).sum(0)
    np.testing.assert_array_equal(np.load(bundle / "counts.npy"), counts.numpy())

    before = {key: value.clone() for key, value in network.state_dict().items()}
    load_weights(network, bundle / "new.safetensors")
    moved = [k for k, v in network.state_dict().items() if not torch.equal(v, before[k])]
    assert "2.weight" in moved
    assert "3.recurrent.weight" in moved
    assert "3.beta" not in moved


def test_contract_training_on_the_double_equals_training_on_the_cpu(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = (f"--targets={bundle}/y.npy", "--epochs=2")
    run.main(arguments(bundle, "train", "cpu", "cpu.safetensors", *more))
    monkeypatch.setitem(sys.modules, "poptorch", fake_poptorch)
    run.main(arguments(bundle, "train", "ipu", "ipu.safetensors", *more))
    run.main(arguments(bundle, "infer", "ipu", "counts.npy"))
    cpu = tensors.read_tensors(bundle / "cpu.safetensors")
    ipu = tensors.read_tensors(bundle / "ipu.safetensors")
    start = tensors_of(built("recurrent"))
    assert cpu.keys() == ipu.keys() == start.keys()
    for key, value in cpu.items():
        torch.testing.assert_close(ipu[key], value, rtol=1e-4, atol=1e-6)
    assert not torch.equal(cpu["2.weight"], start["2.weight"])


@pytest.fixture
def half_bundle(tmp_path: Path) -> Path:
    network = sp.SpikingSequential(nn.Linear(6, 8), sp.Leaky(0.9), nn.Linear(8, 3), sp.Leaky(0.9))
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    write_bundle(
        tmp_path / "b", network, CountCrossEntropy(), (6,), STEPS, BATCH, lr=0.02, half=True
    )
    targets = np.arange(48) % 3
    frames = np.random.default_rng(0).random((STEPS, 48, 6)) < 0.1
    frames[:, np.arange(48), 2 * targets] = True  # inputs 1, 3 and 5 are nearly silent
    frames[:, :, 5] = False  # and this one has no gradient at all
    np.save(tmp_path / "x.npy", frames.astype(np.uint8))
    np.save(tmp_path / "y.npy", targets)
    return tmp_path


def trained_half(folder: Path) -> dict[str, Tensor]:
    run.main(arguments(folder, "train", "ipu", "h", f"--targets={folder}/y.npy", "--epochs=8"))
    return tensors.read_tensors(folder / "h")


def test_contract_half_precision_learns_and_stays_finite(
    half_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "poptorch", fake_poptorch)
    found = trained_half(half_bundle)
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert losses[-1] < 0.5 * losses[0]
    assert all(value.isfinite().all() for value in found.values())
    assert found["0.weight"].dtype is torch.float16
    assert found["1.beta"].dtype is torch.float32

    # With what torch's optimiser has of itself, the same training ends in NaN.
    def plain(poptorch: Any, kind: str, arguments: dict[str, Any], parameters: Any, *_: Any) -> Any:
        return getattr(poptorch.optim, kind)(parameters, lr=arguments["lr"])

    monkeypatch.setattr(run, "device_optimizer", plain)
    assert not trained_half(half_bundle)["0.weight"].isfinite().all()


def test_half_precision_on_the_cpu_infers_and_does_not_train(half_bundle: Path) -> None:
    with pytest.raises(SystemExit, match=r"float16, which trains on an IPU only.*Nothing was run"):
        run.main(arguments(half_bundle, "train", "cpu", "n", f"--targets={half_bundle}/y.npy"))
    run.main(arguments(half_bundle, "infer", "cpu", "counts.npy"))
    assert np.load(half_bundle / "counts.npy").any()


def test_in_half_precision_membranes_and_counts_are_single() -> None:
    """1500 steps of 0.0015 and a decay of 0.999: 1.1658 by the sum; float16 makes it 1.33."""
    network = sp.SpikingSequential(nn.Linear(1, 1, bias=False), sp.Leaky(0.999, threshold=1.16))
    with torch.no_grad():
        network[0].weight.fill_(0.0015)
    step = training_step(network, CountCrossEntropy(), half=True)
    drive = float(step.network.chain[0].weight.detach())
    first = next(t for t in range(1, 3000) if drive * (1 - 0.999**t) / 0.001 > 1.16)
    spk, _ = step.network(torch.ones(first + 5, 1, 1))
    assert spk.dtype is torch.float16
    assert int(spk.flatten().nonzero()[0]) == first - 1
    always = sp.SpikingSequential(nn.Linear(1, 1), sp.Leaky(0.0, reset_mechanism="none"))
    with torch.no_grad():
        always[0].weight.fill_(5.0)
    counts, loss = training_step(always, CountCrossEntropy(), half=True)(
        torch.ones(2051, 1, 1), torch.tensor([0])
    )
    assert counts.item() == 2051  # a float16 stops at 2048
    assert loss.dtype is torch.float32


def test_nothing_trains_silently_on_the_cpu(bundle: Path) -> None:
    with pytest.raises(SystemExit, match=r"PopTorch cannot be imported.*Nothing was run"):
        run.main(arguments(bundle, "train", "ipu", "n", f"--targets={bundle}/y.npy"))
    assert not (bundle / "n").exists()


def test_wrong_input_ends_with_what_is_wrong(bundle: Path) -> None:
    np.save(bundle / "x.npy", np.zeros((STEPS + 1, 9, *SHAPE), np.uint8))
    with pytest.raises(SystemExit, match=r"frames have shape \(6, 9, 2, 12, 12\); the network"):
        run.main(arguments(bundle, "infer", "cpu", "n"))
    spec = json.loads((bundle / "b/spec.json").read_text())
    (bundle / "b/spec.json").write_text(json.dumps(spec | {"schema": 99}))
    with pytest.raises(SystemExit, match="schema 99"):
        run.main(arguments(bundle, "infer", "cpu", "n"))


def test_what_a_bundle_does_not_have_is_refused(tmp_path: Path) -> None:
    relu = sp.SpikingSequential(nn.Linear(4, 3), nn.ReLU(), sp.Leaky(beta=0.9))
    with pytest.raises(ArgumentError, match="1 is a ReLU"):
        training_step(relu, CountCrossEntropy())
    with pytest.raises(ArgumentError, match="no chain of layers"):
        training_step(nn.Linear(2, 2), CountCrossEntropy())
    with pytest.raises(ArgumentError, match="end in a layer of neurons"):
        training_step(sp.SpikingSequential(nn.Linear(4, 3)), CountCrossEntropy())
    with pytest.raises(ArgumentError, match="loss CountSquaredError"):
        training_step(built("leaky"), CountSquaredError())
    foreign = sp.SpikingSequential(sp.Leaky(beta=0.9, spike_grad=lambda x: (x > 0).float()))
    with pytest.raises(ArgumentError, match="ignores the backward"):
        training_step(foreign, CountCrossEntropy())
    with pytest.raises(ArgumentError, match="optimizer LBFGS"):
        write_bundle(
            tmp_path / "b", built("leaky"), CountCrossEntropy(), SHAPE, 5, optimizer="LBFGS"
        )
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(ArgumentError, match="is not empty"):
        write_bundle(tmp_path / "full", built("leaky"), CountCrossEntropy(), SHAPE, STEPS)


def test_tensors_are_files_that_the_safetensors_library_reads_and_writes(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    held = {
        "a.b": torch.rand(3, 4),
        "n": torch.arange(5),
        "s": torch.tensor(2.5),
        "h": torch.rand(2).half(),
    }
    tensors.write_tensors(tmp_path / "ours", held)
    assert all(torch.equal(held[k], v) for k, v in load_file(tmp_path / "ours").items())
    save_file(held, tmp_path / "theirs")
    assert all(
        torch.equal(held[k], v) for k, v in tensors.read_tensors(tmp_path / "theirs").items()
    )


def test_damaged_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w"
    tensors.write_tensors(path, {"a": torch.rand(3, 4)})
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for cut in [0, 7, 20, len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="no whole file of tensors"):
            tensors.read_tensors(path)
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[generator.integers(len(whole) - 48)] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            read = tensors.read_tensors(path)
        except ValueError:
            continue
        assert all(value.numel() * value.element_size() <= 48 for value in read.values())
    with pytest.raises(ArgumentError, match="cannot read"):
        load_weights(built("leaky"), tmp_path / "nowhere")
    tensors.write_tensors(path, {"a": torch.rand(3, 4)})
    with pytest.raises(ArgumentError, match="another network"):
        load_weights(built("leaky"), path)


def test_the_sources_keep_to_python_3_8() -> None:
    folder = Path(inspect.getfile(run)).parent
    checker = [str(Path(sys.executable).with_name("vermin")), "-t=3.8-", "--no-tips", str(folder)]
    done = subprocess.run(checker, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "snnplug" not in "".join(
        line
        for path in folder.glob("*.py")
        for line in path.read_text().splitlines()
        if "import" in line
    )
