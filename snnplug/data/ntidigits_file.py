"""Files in the N-TIDIGITS18 format: where they come from, what is checked in them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snnplug.data.download import fetch
from snnplug.data.hdf5 import read_hdf5
from snnplug.errors import DataError, DataNotFoundError

#: Channels of the cochlea.
CHANNELS = 64
#: The file in the folder of the data.
FILE = Path("NTIDIGITS18", "n-tidigits.hdf5")
# Address and MD5 sum of the published file, as tonic 1.7 has them.
_URL = (
    "https://www.dropbox.com/scl/fi/1x4lxt9yyw25sc3tez8oi/n-tidigits.hdf5"
    "?e=2&rlkey=w8gi5udvib2zqzosusa5tr3wq&dl=1"
)
_MD5 = "360a2d11e5429555c9197381cf6b58e0"
# TIDIGITS has 112 + 113 adult speakers of 22 single digits and 77 utterances each. One of the 8,624
# + 8,701 is the count of a split, by whether single digits alone are asked for.
OFFICIAL = {
    (True, True): 2_464,
    (False, True): 2_486,
    (True, False): 8_624,
    (False, False): 8_701,
}
# A freely licensed file in the same format: the Free Spoken Digit Dataset through a synthetic
# cochlea. Its size, its sum, and what a result on it is a result on.
_SYNTHETIC_BYTES = 12_215_506
_SYNTHETIC_SHA256 = "37be4a6f33273ea59e884d48cc3ec9da0deb1a27933e5eb1b9153abefd4f11f4"
_SYNTHETIC = "FSDD-cochlea (synthetic events, not N-TIDIGITS)"

_ID = re.compile(r"([^-]+)-([^-]+)-[^-]+-([o1-9z]+)")
_US_PER_S = 1e6
_DAMAGED = "it is no whole HDF5 file in the N-TIDIGITS18 format; copy or download it again"


def names_of(path: Path, split: str) -> list[str]:
    """Return the names of a split's utterances."""
    (names,) = read_hdf5(path, [(f"{split}_labels", None)], remedy=_DAMAGED)
    try:
        return [name.decode("ascii") for name in names.tolist()]
    except (AttributeError, TypeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: its {split}_labels are {names.dtype} {names.shape}, no names "
            f"({error}); {_DAMAGED}"
        ) from error


def title_of(path: Path, count: int, train: bool, single_digits: bool) -> str:
    """Return what a result on so many utterances of the file is a result on."""
    if count == OFFICIAL[train, single_digits]:
        return "N-TIDIGITS18"
    if path.stat().st_size == _SYNTHETIC_BYTES:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest == _SYNTHETIC_SHA256:
            return _SYNTHETIC
    return "a file in the N-TIDIGITS18 format (not the published one)"


def events_of(path: Path, split: str, name: str) -> npt.NDArray[np.void]:
    """Return the events of an utterance, in order of time: fields x, the channel, and t in µs."""
    places = [(f"{split}_{part}/{name}", None) for part in ("addresses", "timestamps")]
    x, seconds = read_hdf5(path, places, name, _DAMAGED)
    return _events(x, seconds, f"{path}: {name}")


def _events(x: npt.NDArray[Any], seconds: npt.NDArray[Any], origin: str) -> npt.NDArray[np.void]:
    kinds = x.dtype.kind in "iu" and seconds.dtype.kind in "iuf"
    if x.ndim != 1 or x.shape != seconds.shape or not kinds:
        raise DataError(
            f"{origin} has {x.dtype} addresses {x.shape} and {seconds.dtype} times "
            f"{seconds.shape}; they have to be integers and numbers, of one length; {_DAMAGED}"
        )
    seconds = seconds.astype(np.float64)
    if x.size and not (int(x.min()) >= 0 and int(x.max()) < CHANNELS):
        raise DataError(
            f"{origin} has channels from {x.min()} to {x.max()}, not in 0 … {CHANNELS - 1}; "
            f"{_DAMAGED}"
        )
    # 32 bits of µs; also false for NaN.
    if seconds.size and not (seconds.min() >= 0 and seconds.max() * _US_PER_S < 2**32):
        raise DataError(
            f"{origin} has times from {seconds.min()} to {seconds.max()} s, not in 0 … 4294; "
            f"{_DAMAGED}"
        )
    events = np.empty(x.size, dtype=[("x", np.int64), ("t", np.int64)])
    events["x"] = x
    # The file's float32 seconds are a little off; to cut them would move a 3 ms event to 2,999 µs.
    events["t"] = np.rint(seconds * _US_PER_S)
    ordered: npt.NDArray[np.void] = events[np.argsort(events["t"], kind="stable")]
    return ordered


def parsed(name: str, path: Path) -> tuple[str, str, str]:
    """Return name, speaker and digits of ``gender-speaker-sample-digits``."""
    match = _ID.fullmatch(name)
    if match is None:
        raise DataError(
            f"{path} names an utterance {name!r}, not gender-speaker-sample-digits; {_DAMAGED}"
        )
    gender, speaker, digits = match.groups()
    # In the synthetic file the number of the utterance is part of the speaker: ids are unique.
    return name, f"{gender}-{speaker.rstrip('0123456789')}", digits


def fetch_file(path: Path, download: bool) -> None:
    """Fetch the published file, or say how to get it."""
    by_hand = (
        f"put n-tidigits.hdf5 into {path.parent.resolve()}; its address is {_URL}, its MD5 sum "
        f"{_MD5}"
    )
    if not download:
        raise DataNotFoundError(
            f"no {path.resolve()}; set root to the folder that holds {FILE}, or download: true "
            f"to fetch it, or {by_hand}"
        )
    fetch(_URL, path, f"md5:{_MD5}", by_hand)
