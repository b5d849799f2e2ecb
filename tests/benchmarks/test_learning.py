"""The benchmark of the spike-train rules runs, and what is said of it holds."""

from __future__ import annotations

import pytest
import torch

from tests.benchmarks import learning


def test_kept_for_the_backward_pass_are_the_spikes_as_bits() -> None:
    kept = []
    for num_steps in (20, 60):
        x = (torch.rand(num_steps, 8, 784) < 0.05).float()
        kept.append(learning.kept_bytes(learning.networks()["hm2bp"](x)))
    (short, rest), (long, same) = kept
    # Words of 64 bits: 13 for 784 inputs, 13 for 800 neurons twice, 1 for 10.
    assert short == 20 * 8 * (13 + 13 + 13 + 1) * 8
    assert long == 3 * short
    assert rest == same


def test_a_step_is_twenty_times_as_quick_as_the_loop_and_like_backpropagation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learning, "SAMPLES", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        taken = learning.step_ms(num_steps=10, repeats=3)
    finally:
        torch.set_num_threads(threads)
    for rule in learning.RULES:
        assert taken["loop"] > 20 * taken[rule]
        assert taken[rule] < 3 * taken["bptt"]
