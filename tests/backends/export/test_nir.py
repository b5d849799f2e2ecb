"""NIR: spikes that come back bit for bit, those of another reader, and what NIR cannot say."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

import snnplug as sp
from snnplug.backends.export import NIRResetWarning, from_nir, read_nir, to_nir, write_nir
from snnplug.errors import ArgumentError, DataNotFoundError, MissingExtraError
from snnplug.learning.spike_train_linear import SpikeTrainLinear
from tests.backends.export.networks import Random
from tests.support import nir_interpreter
from tests.support.peers import peer

nir: Any = peer("nir")

FRAMES = (torch.rand(20, 3, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def spikes(network: nn.Module, frames: Tensor) -> Tensor:
    with torch.no_grad():
        out = network(frames)
    return out[0] if isinstance(out, tuple) else out


def test_a_hundred_random_networks_come_back_bit_for_bit(tmp_path: Path) -> None:
    fired, grouped, oblong = 0, 0, 0
    for seed in range(100):
        network, frames = Random(seed, native=False).network()
        for conv in network:
            if isinstance(conv, nn.Conv2d):
                grouped += conv.groups > 1
                oblong += len({*conv.kernel_size}) > 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NIRResetWarning)
            graph = to_nir(network, frames)
        if seed % 5 == 0:  # a file keeps every number
            nir.write(tmp_path / "network.nir", graph)
            again = read_nir(tmp_path / "network.nir")
        else:
            again = from_nir(graph)
        expected = spikes(network, frames)
        assert torch.equal(spikes(again, frames), expected), f"seed {seed}: {network}"
        fired += bool(expected.any())
    assert fired > 80
    assert min(grouped, oblong) > 8


def test_a_hundred_native_networks_spike_alike_in_a_reader_of_the_equations() -> None:
    fired = 0
    for seed in range(100):
        network, frames = Random(seed, native=True).network()
        graph = to_nir(network, frames, strict=True)  # and without a warning
        expected = spikes(network, frames)
        for sample in range(frames.shape[1]):
            found = nir_interpreter.run(graph, frames[:, sample].numpy())
            assert np.array_equal(found, expected[:, sample].numpy()), f"seed {seed}: {network}"
        fired += bool(expected.any())
    assert fired > 80


IMAGES = (torch.rand(20, 3, 4, 7, 9, generator=torch.Generator().manual_seed(0)) < 0.5).float()


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({"groups": 4, "kernel_size": 3}, (3, 3)),
        ({"groups": 2, "kernel_size": (1, 3), "padding": (0, 2), "dilation": (1, 2)}, (3, 3)),
        ({"kernel_size": (4, 2), "stride": (2, 1)}, (4, 4)),
        ({"kernel_size": (3, 2), "stride": (1, 2), "padding": "valid"}, (3, 3)),
        ({"kernel_size": (3, 1), "padding": "same", "groups": 2}, (3, 1)),
        ({"kernel_size": (3, 2), "stride": (2, 1), "dilation": (1, 2)}, (4, 4)),
    ],
)
def test_groups_and_kernels_that_are_not_square_reach_every_reader(
    given: dict[str, Any], written: tuple[int, int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = sp.SpikingSequential(
        nn.Conv2d(4, 8, **given), sp.Leaky(beta=0.8, threshold=0.2, **ZERO)
    )
    expected = spikes(network, IMAGES)
    assert 0 < expected.mean() < 1
    assert write_nir(tmp_path / "net.nir", network, IMAGES, strict=True).note == ""
    layer: Any = read_nir(tmp_path / "net.nir")[0]
    assert (layer.groups, layer.kernel_size) == (network[0].groups, network[0].kernel_size)
    for check in (True, False):
        graph = nir.read(tmp_path / "net.nir", type_check=check)
        assert graph.nodes["0"].weight.shape == (8, 4, *written)
        for sample in range(3):
            found = imported(graph, IMAGES[:, sample])
            torch.testing.assert_close(found, expected[:, sample], rtol=0, atol=0)


def test_a_kernel_that_no_square_replaces_is_written_for_readers_without_the_check(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    network = sp.SpikingSequential(
        nn.Conv2d(4, 8, (3, 2)), sp.Leaky(beta=0.8, threshold=0.2, **ZERO)
    )
    expected = spikes(network, IMAGES)
    path = tmp_path / "net.nir"
    with pytest.raises(ArgumentError, match=r"the shapes of 0 wrongly.*or export without strict"):
        write_nir(path, network, IMAGES, strict=True)
    assert not path.exists()
    assert "need nir.read(path, type_check=False)" in write_nir(path, network, IMAGES).note
    assert torch.equal(spikes(read_nir(path), IMAGES), expected)
    with pytest.raises(ValueError, match="type mismatch"):
        nir.read(path)
    assert torch.equal(imported(nir.read(path, type_check=False), IMAGES[:, 0]), expected[:, 0])


def test_files_whose_shapes_do_not_fit_are_refused(tmp_path: Path) -> None:
    one = np.ones(5)
    lif = nir.LIF(tau=2e-4 * one, r=2 * one, v_leak=0 * one, v_threshold=one)
    nodes = {"input": nir.Input([4]), "a": nir.Linear(np.ones((4, 4))), "b": lif}
    edges = [("input", "a"), ("a", "b"), ("b", "output")]
    graph = nir.NIRGraph(nodes | {"output": nir.Output([5])}, edges, type_check=False)
    nir.write(tmp_path / "net.nir", graph)
    with pytest.raises(ArgumentError, match=r"cannot be read as NIR: .*type mismatch"):
        read_nir(tmp_path / "net.nir")


def imported(graph: Any, frames: Tensor) -> Tensor:
    """Run one sample through snnTorch's own reader, which takes no batch behind a Flatten."""
    network = peer("snntorch.import_nir").import_from_nir(graph)
    state, outputs = None, []
    for frame in frames:
        out, state = network(frame) if state is None else network(frame, state)
        outputs.append(out[0] if isinstance(out, tuple) else out)
    return torch.stack(outputs).detach()


ZERO: dict[str, Any] = {"reset_mechanism": "zero", "reset_delay": False}


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(6, 8), sp.Leaky(beta=0.9, **ZERO), nn.Linear(8, 5), sp.Leaky(beta=0.7, **ZERO)],
        [nn.Linear(6, 8), sp.Synaptic(alpha=0.6, beta=torch.rand(8), **ZERO)],
        [
            nn.Unflatten(1, (1, 2, 3)),
            nn.Conv2d(1, 4, 2, bias=False),
            sp.Leaky(beta=0.8, reset_mechanism="zero"),
        ],
    ],
)
def test_snntorchs_own_reader_gives_the_same_spikes(
    layers: list[nn.Module], capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    network = sp.SpikingSequential(*layers)
    frames = FRAMES
    if isinstance(layers[0], nn.Unflatten):  # shapes the frames, which NIR has no node for
        frames, network = layers[0](FRAMES.flatten(0, 1)).unflatten(0, (20, 3)), network[1:]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    graph = to_nir(network, frames, strict=True)
    expected = spikes(network, frames)
    assert expected.any()
    for sample in range(3):
        assert torch.equal(imported(graph, frames[:, sample]), expected[:, sample])


def test_scalars_become_one_value_per_neuron_and_infinity_a_number() -> None:
    beta = torch.tensor([0.5, 1.0, 0.0])
    network = sp.SpikingSequential(
        nn.Linear(6, 3), sp.Leaky(beta=beta, **ZERO), nn.Linear(3, 2), sp.Leaky(beta=1.0, **ZERO)
    )
    graph = to_nir(network, FRAMES)
    assert graph.nodes["1"].v_threshold.shape == graph.nodes["1"].tau.shape == (3,)
    assert np.isfinite(graph.nodes["1"].tau).all()
    assert graph.nodes["1"].tau[[0, 2]] == pytest.approx([2e-4, 1e-4])
    assert type(graph.nodes["3"]).__name__ == "IF"
    again: Any = from_nir(graph)
    assert torch.equal(again[1].beta, beta)


def test_the_names_and_the_surrogate_come_back() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            spike_grad = sp.FastSigmoid(slope=7.0)
            self.body = sp.SpikingSequential(nn.Linear(6, 3), sp.Leaky(0.5, spike_grad=spike_grad))

        def chain(self) -> sp.SpikingSequential:
            return self.body

    with pytest.warns(NIRResetWarning, match=r"body\.1 \(Leaky\): a spike sets NIR's membrane"):
        graph = to_nir(Net(), FRAMES)
    assert list(graph.nodes) == ["input", "body.0", "body.1", "output"]
    again: Any = from_nir(graph)
    assert again.body_1.spike_grad == sp.FastSigmoid(slope=7.0)
    assert again.body_1.reset_mechanism == "subtract"


def test_batch_normalisation_is_folded() -> None:
    torch.manual_seed(1)
    network = sp.SpikingSequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        sp.Leaky(beta=0.5, threshold=0.3, **ZERO),
        nn.Flatten(),
        nn.Linear(48, 6),
        nn.BatchNorm1d(6),
        sp.Leaky(beta=0.5, threshold=0.3, **ZERO),
    )
    frames = (torch.rand(10, 4, 1, 6, 6) < 0.5).float()
    for _ in range(3):
        network(frames)  # gives the statistics of a batch
    network.eval()
    graph = to_nir(network, frames, strict=True)
    assert list(graph.nodes) == ["input", "0", "2", "3", "4", "6", "output"]
    expected = spikes(network, frames)
    assert expected.any()
    assert torch.equal(spikes(from_nir(graph), frames), expected)


def test_a_snntorch_network_is_converted_first() -> None:
    torch.manual_seed(0)
    hidden = {"init_hidden": True}
    network = nn.Sequential(
        nn.Linear(6, 8),
        snn.Leaky(beta=0.9, **hidden),
        nn.Linear(8, 4),
        snn.RLeaky(beta=0.9, linear_features=4, **hidden),
    )
    network[0].weight.data *= 4
    with pytest.warns(NIRResetWarning):
        again = from_nir(to_nir(network, FRAMES))
    sp.reset(network)
    with torch.no_grad():
        expected = torch.stack([network(frame) for frame in FRAMES])
    assert expected.any()
    assert torch.equal(spikes(again, FRAMES), expected)


def test_a_foreign_graph_is_read_by_its_equations() -> None:
    """Gains that are not 1, integrators with r = 1, and another step of time."""
    rng = np.random.default_rng(0)
    one = np.ones(4)
    graph = nir.NIRGraph.from_list(
        nir.Affine(rng.normal(size=(4, 6)), rng.normal(size=4)),
        nir.LIF(tau=2e-3 * one, r=3 * one, v_leak=0 * one, v_threshold=0.2 * one),
        nir.Linear(rng.normal(size=(4, 4)).astype(np.float32)),
        nir.CubaLIF(
            tau_syn=4e-3 * one, tau_mem=8e-3 * one, r=5 * one, v_leak=0 * one,
            v_threshold=0.1 * one, w_in=2.0,
        ),
    )  # fmt: skip
    expected = nir_interpreter.run(graph, FRAMES[:, 0].numpy(), dt=1e-3)
    assert 0 < expected.mean() < 1
    network = from_nir(graph, dt_s=1e-3)
    assert np.array_equal(spikes(network, FRAMES)[:, 0].numpy(), expected)
    once = nir.NIRGraph.from_list(nir.IF(r=np.ones(6), v_threshold=np.full(6, 1.5)))
    spk = spikes(from_nir(once), torch.ones(4, 1, 6))
    assert spk[:, 0, 0].tolist() == [0, 1, 0, 1]  # 1, 2 > 1.5, 1, 2


def test_writing_compares_and_leaves_no_part(tmp_path: Path) -> None:
    network = sp.SpikingSequential(nn.Linear(6, 3), sp.Leaky(beta=0.9))
    written = write_nir(tmp_path / "new" / "net.nir", network, FRAMES)
    assert (written.values, written.differing) == (180, 0)
    assert "metadata say so" in written.note
    assert "180 outputs of the example compared: all equal" in str(written)
    pooled = sp.SpikingSequential(nn.MaxPool2d(2), sp.Leaky(beta=0.9))
    with pytest.raises(ArgumentError, match="MaxPool"):
        write_nir(tmp_path / "new" / "other.nir", pooled, torch.zeros(2, 1, 1, 4, 4))
    with pytest.raises(ArgumentError, match=r"has to end in \.nir"):
        write_nir(tmp_path / "net.h5", network, FRAMES)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["net.nir"]


def strange(spike_grad: Any) -> nn.Module:
    return sp.Leaky(beta=0.5, spike_grad=spike_grad)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (sp.Leaky(beta=0.5, inhibition=True), r"1 \(Leaky\) is inhibited"),
        (sp.Leaky(beta=0.5, state_quant=torch.round), r"1 \(Leaky\) is inhibited or quantised"),
        (snn.Leaky(beta=0.5), "take snnplug's neuron of that name"),
        (strange(torch.sigmoid), "its spike function is no step"),
        (sp.LearnableLIF(beta=1.5), r"beta is outside \[0, 1\]"),
        (nn.ReLU(), r"1 \(ReLU\): NIR has no such layer.*Export as onnx"),
        (nn.LayerNorm(8), "NIR has no such layer"),
        (SpikeTrainLinear(8, 3, 1.0), "NIR has no such layer"),
    ],
)
def test_what_nir_has_no_node_for_is_named_with_the_remedy(layer: nn.Module, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        to_nir(sp.SpikingSequential(nn.Linear(6, 8), layer), FRAMES)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.MaxPool2d(2), "NIR has no maximum; train with nn.AvgPool2d, or export as onnx"),
        (nn.AvgPool2d(3, ceil_mode=True), "rounds up"),
        (nn.AvgPool2d(2, divisor_override=3), "divides by another number"),
        (nn.AvgPool2d(2, padding=1, count_include_pad=False), "set count_include_pad"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), "pads with 'circular'"),
        (nn.BatchNorm2d(2), "right behind a Linear or Conv2d"),
        (
            nn.Linear(8, 3),
            r"takes its input for \(8,\), it is \(2, 8, 8\); put a Flatten before it",
        ),
    ],
)
def test_what_nir_cannot_say_of_images_is_named(layer: nn.Module, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        to_nir(sp.SpikingSequential(layer, sp.Leaky(beta=0.5)), torch.zeros(2, 3, 2, 8, 8))


@pytest.mark.parametrize(
    "neuron",
    [
        sp.Leaky(beta=0.5),
        sp.Leaky(beta=0.5, reset_delay=False),
        sp.Synaptic(alpha=0.5, beta=0.5, reset_mechanism="zero"),
        sp.RLeaky(beta=0.5, V=1.0, all_to_all=False, reset_mechanism="zero"),
        sp.ContinuousIF(),
        sp.LearnableLIF(),
        sp.Leaky(beta=0.5, threshold=-0.1, **ZERO),
    ],
)
def test_strict_refuses_what_others_would_reset_otherwise(neuron: nn.Module) -> None:
    network = sp.SpikingSequential(nn.Linear(6, 3), neuron)
    with pytest.raises(ArgumentError, match="reset_mechanism='zero' and reset_delay=False; or"):
        to_nir(network, FRAMES, strict=True)
    with pytest.warns(NIRResetWarning):
        to_nir(network, FRAMES)


def test_graphs_that_are_no_chain_are_refused() -> None:
    weight, one = np.eye(2), np.ones(2)
    lif = nir.LIF(tau=2e-4 * one, r=2 * one, v_leak=0 * one, v_threshold=one)
    ends: dict[str, Any] = {"input": nir.Input([2]), "output": nir.Output([2])}

    def graph(nodes: dict[str, Any], *edges: tuple[str, str]) -> Any:
        return nir.NIRGraph(ends | nodes, list(edges), type_check=False)

    split = graph({"a": nir.Linear(weight), "b": lif}, ("input", "a"), ("input", "b"))
    for found, message in [
        (split, "input leads to a, b"),
        (graph({"a": lif}, ("input", "output")), "1 nodes lie beside the chain"),
        (graph({"a": lif}, ("input", "a"), ("a", "a")), "a leads to a"),
        (graph({}, ("input", "output")), "no node between"),
        (graph({"a": nir.Delay(one)}, ("input", "a"), ("a", "output")), r"a \(Delay\) has no"),
        (graph({"a": nir.LI(one, one, one)}, ("input", "a"), ("a", "output")), "no Threshold"),
        (lif, "is no nir.NIRGraph"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            from_nir(found)
    lif.v_reset = one
    with pytest.raises(ArgumentError, match="v_reset is not 0"):
        from_nir(graph({"a": lif}, ("input", "a"), ("a", "output")))
    lif.v_reset = 0 * one
    with pytest.raises(ArgumentError, match="shorter than the time step"):
        from_nir(graph({"a": lif}, ("input", "a"), ("a", "output")), dt_s=1.0)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="there is no file"):
        read_nir(tmp_path / "none.nir")
    (tmp_path / "text.nir").write_text("no graph", encoding="utf-8")
    with pytest.raises(ArgumentError, match="cannot be read as NIR"):
        read_nir(tmp_path / "text.nir")


def test_without_nir_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'snnplug\[nir\]'"):
        to_nir(sp.SpikingSequential(nn.Linear(6, 3), sp.Leaky(beta=0.9)), FRAMES)
