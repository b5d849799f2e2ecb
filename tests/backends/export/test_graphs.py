"""Programs of torch, ONNX and OpenVINO: equal outputs where they run, errors where they cannot."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

import snnplug as sp
from snnplug.backends.export import (
    onnx_file,
    openvino_files,
    program,
    to_program,
    write_onnx,
    write_openvino,
    write_program,
)
from snnplug.backends.export.program import traced_program
from snnplug.errors import ArgumentError, MissingExtraError
from snnplug.networks.conv import ConvSNN
from snnplug.networks.spike_train import SpikeTrainSNN
from tests.support.peers import peer


def network() -> sp.SpikingSequential:
    """Images first, then neurons of both orders, with recurrent weights and without."""
    torch.manual_seed(0)
    net = sp.SpikingSequential(
        sp.SpikeConv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.MaxPool2d(2),
        sp.DiscontinuousIF(threshold=0.1),
        nn.Dropout(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 6),
        sp.RSynaptic(alpha=0.5, beta=torch.rand(6), linear_features=6),
        sp.SpikeLinear(6, 3),
        sp.Leaky(beta=0.9, reset_mechanism="zero", graded_spikes_factor=0.5),
    )
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Linear):
                module.weight.uniform_(-0.5, 1.0)
    return net


def frames(batch: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(9, batch, 2, 12, 12, generator=generator) < 0.4).float()


def expected(network: nn.Module, x: Tensor) -> Tensor:
    sp.reset(network.eval())
    with torch.no_grad():
        out = network(x)
    out = out[0] if isinstance(out, tuple) else out
    assert 0 < out.mean() < 1
    return out


@pytest.fixture(scope="module")
def other() -> tuple[Tensor, Tensor]:
    """Frames of another batch size, and what the network gives for them."""
    x = frames(5, seed=1)
    return x, expected(network(), x)


@pytest.fixture(scope="module")
def traced() -> Any:
    """Tracing takes seconds: all formats write the same program."""
    return traced_program(network(), frames(2))


@pytest.fixture
def same_program(traced: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (program, onnx_file):
        monkeypatch.setattr(module, "traced_program", lambda *_: traced)


def test_a_program_is_a_scan_and_takes_any_batch(traced: Any, other: tuple[Tensor, Tensor]) -> None:
    (graph, _), (x, spk) = traced, other
    with torch.no_grad():
        assert torch.equal(graph.module()(x), spk)
        assert graph.module()(x[:, :1]).shape == (9, 1, 3)
    calls = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert calls.count("scan") == 2
    assert len(calls) < 150  # of 9 steps, unrolled, it would be 400


@pytest.mark.usefixtures("same_program")
def test_a_pt2_file_runs_where_snnplug_is_not(tmp_path: Path, other: tuple[Tensor, Tensor]) -> None:
    written = write_program(tmp_path / "net.pt2", network(), frames(2))
    assert (written.values, written.differing) == (9 * 2 * 3, 0)
    x, spk = other
    np.save(tmp_path / "x.npy", x.numpy())
    np.save(tmp_path / "spk.npy", spk.numpy())
    code = (
        "import numpy as np, sys, torch\n"
        "run = torch.export.load('net.pt2').module()\n"
        "x, spk = (torch.from_numpy(np.load(f'{n}.npy')) for n in ('x', 'spk'))\n"
        "assert torch.equal(run(x), spk) and 'snnplug' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)


@pytest.mark.usefixtures("same_program")
def test_onnx_runtime_gives_the_same_spikes(tmp_path: Path, other: tuple[Tensor, Tensor]) -> None:
    runtime = peer("onnxruntime")
    written = write_onnx(tmp_path / "net.onnx", network(), frames(2))
    assert (written.values, written.differing) == (9 * 2 * 3, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    session = runtime.InferenceSession(written.path, providers=["CPUExecutionProvider"])
    x, spk = other
    (found,) = session.run(None, {"frames": x.numpy()})
    assert np.array_equal(found, spk.numpy())


@pytest.mark.usefixtures("same_program")
def test_openvino_gives_the_same_spikes(tmp_path: Path, other: tuple[Tensor, Tensor]) -> None:
    openvino = peer("openvino")
    written = write_openvino(tmp_path / "net.xml", network(), frames(2))
    assert (written.values, written.differing) == (9 * 2 * 3, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.bin", "net.xml"]
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    run = openvino.compile_model(tmp_path / "net.xml", "CPU", hint)
    x, spk = other
    assert np.array_equal(run(x.numpy())["spikes"], spk.numpy())


def test_what_openvino_cannot_read_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with an operator that OpenVINO does not have, in place of the network's."""
    openvino, onnx = peer("openvino"), peer("onnx")

    def foreign(path: Path, *_: Any) -> Tensor:
        values = [onnx.helper.make_tensor_value_info(n, 1, [9, 2, 3]) for n in ("frames", "spikes")]
        nodes = [onnx.helper.make_node("Unheard", ["frames"], ["spikes"], domain="of.nobody")]
        graph = onnx.helper.make_graph(nodes, "net", values[:1], values[1:])
        onnx.save(onnx.helper.make_model(graph), path)
        return torch.zeros(9, 2, 3)

    monkeypatch.setattr(openvino_files, "save_onnx", foreign)
    version = re.escape(openvino.__version__)
    message = rf"OpenVINO {version} cannot read the ONNX file of Skips; export it as onnx"
    with pytest.raises(ArgumentError, match=message):
        write_openvino(tmp_path / "net.xml", Skips(), torch.zeros(9, 2, 3))
    assert not any(tmp_path.iterdir())


def test_a_packaged_network_keeps_its_currents() -> None:
    net = ConvSNN((2, 12, 12), 5, channels=(3,), kernel_size=3, neuron="discontinuous")
    net.train()
    x = frames(2)
    with torch.no_grad():
        spk, cur = to_program(net, x).module()(x)
        assert net.training
        own = net.eval()(x)
    assert spk.any()
    assert torch.equal(spk, own[0])
    assert torch.allclose(cur, own[1], atol=1e-5)


@pytest.mark.parametrize("recurrent", [(), (0,)])
def test_networks_of_the_spike_train_rules_are_traced(recurrent: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = SpikeTrainSNN(
        (1, 8, 8), 4, thresholds=(0.2, 0.3, 0.3), hidden=(9,), recurrent=recurrent, channels=(3,)
    )
    x = (torch.rand(25, 2, 1, 8, 8) < 0.5).float()
    spk = expected(net, x)
    x = torch.cat([x, (torch.rand(25, 3, 1, 8, 8) < 0.5).float()], 1)
    found = to_program(net, x[:, :2]).module()(x)
    assert torch.equal(found[:, :2], spk)
    assert torch.equal(found, expected(net, x))


class Skips(nn.Module):
    """snnTorch's loop with a skip connection: no chain."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 4), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(4, 4), snn.RLeaky(beta=0.8, linear_features=4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1 = self.lif1.reset_mem()
        spk2, mem2 = self.lif2.reset_mem()
        spikes, membranes = [], []
        for now in x:
            spk1, mem1 = self.lif1(4 * self.fc1(now), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1) + spk1, spk2, mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


class Hidden(nn.Module):
    """State that outlives a call."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 4), snn.Leaky(beta=0.9, init_hidden=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.lif(self.fc(now.abs())) for now in x])


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


DENSE = (torch.rand(9, 3, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def test_snntorchs_own_loop_is_traced() -> None:
    torch.manual_seed(0)
    net = Skips()
    spk = expected(net, DENSE)
    found, membranes = to_program(net, DENSE).module()(DENSE)
    assert torch.equal(found, spk)
    assert membranes.shape == spk.shape


def test_a_graph_begins_at_rest_in_every_call() -> None:
    torch.manual_seed(0)
    net = Hidden()
    net.fc.weight.data *= 4
    spk = expected(net, DENSE)
    mem = net.lif.mem.clone()
    graph = to_program(net, DENSE).module()
    assert torch.equal(graph(DENSE), spk)
    assert torch.equal(graph(DENSE), spk)
    assert torch.equal(net.lif.mem, mem)  # and the network's own state is where it was


def test_snntorchs_sequential_is_converted() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 4), snn.Leaky(beta=0.9, init_hidden=True))
    net[0].weight.data *= 5
    graph = to_program(net, DENSE)
    sp.reset(net)
    with torch.no_grad():
        spk = torch.stack([net(now) for now in DENSE])
        assert torch.equal(graph.module()(DENSE), spk)
    assert spk.any()


@pytest.mark.parametrize(
    ("net", "x", "message"),
    [
        (Branches(), DENSE, r"Branches cannot be traced: .*without branches on values"),
        (nn.Sequential(nn.Linear(6, 4)), DENSE, "no spiking neuron ran"),
        (sp.Leaky(beta=0.5), torch.zeros(4), r"has the shape \(4,\); give \(T, B, \*\)"),
        (sp.Leaky(beta=0.5), torch.zeros(0, 2, 4), r"give \(T, B, \*\)"),
    ],
)
def test_what_has_no_graph_is_refused(net: nn.Module, x: Tensor, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        to_program(net, x)


def test_a_file_of_the_wrong_name_or_place_is_refused(tmp_path: Path) -> None:
    net = sp.SpikingSequential(nn.Linear(6, 4), sp.DiscontinuousIF())
    writers: list[Any] = [write_program, write_onnx, write_openvino]
    for write in writers:
        with pytest.raises(ArgumentError, match="has to end in"):
            write(tmp_path / "net", net, DENSE)
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match="cannot write"):
        write_program(tmp_path / "file" / "net.pt2", net, DENSE)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("module", "write", "suffix", "extra"),
    [
        ("onnxruntime", write_onnx, ".onnx", "onnx"),
        ("onnxscript", write_onnx, ".onnx", "onnx"),
        ("openvino", write_openvino, ".xml", "openvino,onnx"),
    ],
)
def test_a_missing_package_is_named_with_the_command(
    module: str,
    write: Any,
    suffix: str,
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    net = sp.SpikingSequential(nn.Linear(6, 4), sp.DiscontinuousIF())
    with pytest.raises(MissingExtraError, match=rf"pip install 'snnplug\[{extra}\]'"):
        write(tmp_path / f"net{suffix}", net, DENSE)
    assert not any(tmp_path.iterdir())
