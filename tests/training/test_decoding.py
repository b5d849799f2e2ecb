"""From spikes to decisions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnplug.errors import ArgumentError
from snnplug.training.decoding import decode, first_spike, spike_count

TRAINS = st.lists(
    st.lists(st.lists(st.integers(0, 1), min_size=4, max_size=4), min_size=2, max_size=2),
    min_size=1,
    max_size=6,
)


@given(TRAINS)
def test_equals_python(trains: list[list[list[int]]]) -> None:
    spk = torch.tensor(trains, dtype=torch.float32)
    by_count, by_first = (decode(spk, -spk, way).tolist() for way in ("count", "first"))
    for sample in range(2):
        counts = [sum(step[sample][c] for step in trains) for c in range(4)]
        assert by_count[sample] == counts.index(max(counts))
        firsts = [
            next((t for t, step in enumerate(trains) if step[sample][c]), len(trains))
            for c in range(4)
        ]
        assert by_first[sample] == firsts.index(min(firsts))
        assert decode(spk, -spk, "current")[sample] == counts.index(min(counts))
    assert spike_count(spk).shape == first_spike(spk).shape == (2, 4)


def test_unknown_decoding_is_refused() -> None:
    with pytest.raises(ArgumentError, match="Did you mean count"):
        decode(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), "counts")  # type: ignore[arg-type]
