"""The data sets by name: every entry says of its classes what they say of themselves."""

from __future__ import annotations

import subprocess
import sys

import lightning.pytorch as pl
import pytest

from snnplug.data.registry import DATASETS, find_dataset
from snnplug.errors import ArgumentError


@pytest.mark.parametrize("name", DATASETS)
def test_an_entry_agrees_with_its_classes(name: str) -> None:
    info = find_dataset(name)
    recordings, data_module = info.load()
    assert issubclass(data_module, pl.LightningDataModule)
    data = data_module()
    assert (data.in_shape, data.num_classes) == (info.shape, info.num_classes)
    assert len(data.classes) == info.num_classes
    assert (recordings is None) == (not info.recordings)
    assert all((info.count, info.download, info.licence, info.source))
    assert info.name == name.lower()


def test_it_imports_no_data_set_and_no_torch() -> None:
    code = (
        "import sys, snnplug.data.registry as r; r.find_dataset('nmnist');"
        "assert not {'torch', 'tonic', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="Did you mean nmnist"):
        find_dataset("nmist")
