"""Pictures of what passes through a network, as pixels.

They are drawn while a network trains, so they are cells and a few words: a millisecond each, where
axes of matplotlib take fifty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from snnplug.errors import needs
from snnplug.hardware.report_plot import COLOURS

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]

_LINE = 16  # pixels of a line of text
_MOST = 960  # cells side by side
_BLUE, _PALE, _RED = (np.array(colour) for colour in ((59, 76, 192), (245, 245, 245), (180, 4, 38)))
_INK, _DEEP = np.array((20, 20, 20)), np.array((8, 48, 107))


def draw_raster(spikes: Mapping[str, Array]) -> Pixels:
    """Draw when each neuron spikes, the layers above one another, the first at the bottom.

    Args:
        spikes: Of each layer, ``(T, N)``; what is not 0 is a spike.

    Returns:
        ``(H, W, 3)``.

    Raises:
        MissingExtraError: pillow is not installed.
    """
    steps = max((len(spk) for spk in spikes.values()), default=1)
    neurons = max(sum(spk.shape[1] for spk in spikes.values()), 1)
    # What does not fit shares its pixels: one is set if any of its neurons or steps spikes.
    apart, along = -(-neurons // _MOST), -(-steps // _MOST)
    cells = {name: _shared(np.asarray(spk).T != 0, apart, along) for name, spk in spikes.items()}
    rows = max(sum(map(len, cells.values())), 1)
    columns = -(-steps // along)
    wide, high = _size(columns, 480), min(_size(rows, 320), 8)
    picture = np.full((rows * high, columns * wide, 3), 255, dtype=np.uint8)
    names, bottom = [], rows
    for place, (name, fired) in enumerate(cells.items()):
        shade = tuple(bytes.fromhex(COLOURS[place % len(COLOURS)].lstrip("#")))
        top = bottom - len(fired)
        grown = fired[::-1].repeat(high, 0).repeat(wide, 1)
        picture[top * high : bottom * high, : grown.shape[1]][grown] = shade
        names.append(((top + bottom) * high // 2, name))
        bottom = top
    axis = {"0": wide // 2, str(steps - 1): columns * wide - wide // 2}
    return _labelled(picture, names, [(x, text) for text, x in axis.items()], "time step")


def draw_frames(frames: Array, num_frames: int = 6) -> Pixels:
    """Draw what one sample gives the network.

    Args:
        frames: ``(T, P, H, W)``, two polarities drawn as ON minus OFF, ON red; or ``(T, *)``, drawn
            as channels over time.
        num_frames: Pictures of a camera's sample; each is the sum of its share of the steps.

    Returns:
        ``(H, W, 3)``.

    Raises:
        MissingExtraError: pillow is not installed.
    """
    if frames.ndim != 4:
        flat = np.asarray(frames, dtype=float).reshape(len(frames), -1).T
        flat = flat[:: -(-len(flat) // _MOST), :: -(-len(frames) // _MOST)]
        least = flat.min()
        shade = _mixed((flat - least) / max(float(flat.max() - least), 1e-9), _PALE, _INK)
        grown = shade.repeat(_size(len(flat), 240), 0).repeat(_size(flat.shape[1], 480), 1)
        return _labelled(grown, [], [], "time step")
    shares = np.array_split(frames, min(num_frames, len(frames)))
    shown = signed_sums(shares)
    most = max(float(np.abs(shown).max()), 1e-9)
    scale = _size(max(shown.shape[1:]), 96)
    tiles, places, left = [], [], 0
    for place, tile in enumerate(shown):
        part = np.abs(tile) / most
        colours = np.where(
            tile[..., None] < 0, _mixed(part, _PALE, _BLUE), _mixed(part, _PALE, _RED)
        )
        grown = colours.astype(np.uint8).repeat(scale, 0).repeat(scale, 1)
        places.append((left + grown.shape[1] // 2, steps_of(shares, place)))
        left += grown.shape[1] + 8
        tiles += [grown, np.full((len(grown), 8, 3), 255, dtype=np.uint8)]
    return _labelled(np.concatenate(tiles[:-1], axis=1), [], places, "")


def draw_confusion(counts: Array) -> Pixels:
    """Draw which class is taken for which.

    Args:
        counts: ``(C, C)``, true classes down, decided ones across.

    Returns:
        ``(H, W, 3)``.

    Raises:
        MissingExtraError: pillow is not installed.
    """
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    cell = 30 if len(counts) <= 20 else _size(len(counts), 360)
    picture = _mixed(share, np.array((247, 251, 255)), _DEEP).repeat(cell, 0).repeat(cell, 1)
    classes = range(len(counts)) if len(counts) <= 20 else (0, len(counts) - 1)
    places = [(int((at + 0.5) * cell), str(at)) for at in classes]
    figures = []
    if len(counts) <= 20:  # more cannot be read
        figures = [
            (int((column + 0.5) * cell), int((row + 0.5) * cell), str(counts[row, column]),
             share[row, column] > 0.5)
            for row, column in zip(*np.nonzero(counts), strict=True)
        ]  # fmt: skip
    return _labelled(picture, places, places, "decided across, true class down", figures)


def signed_sums(shares: Sequence[Array]) -> Array:
    """Return each share of a sample's steps as one picture: ON minus OFF, or all its channels.

    Example:
        >>> off_and_on = np.array([[[[1.0]], [[3.0]]]])
        >>> signed_sums([off_and_on])
        array([[[2.]]])
    """
    sums: Array = np.stack([share.sum(0) for share in shares])
    return sums[:, 1] - sums[:, 0] if sums.shape[1] == 2 else sums.sum(1)


def steps_of(shares: Sequence[Array], place: int) -> str:
    """Return which steps a picture is the sum of.

    Example:
        >>> steps_of([np.zeros(3), np.zeros(2)], 1)
        't = 3 … 4'
    """
    start = sum(map(len, shares[:place]))
    last = start + len(shares[place]) - 1
    return f"t = {start}" if last == start else f"t = {start} … {last}"


def _size(number: int, room: int) -> int:
    """Return how many pixels a cell takes, of as many as there are side by side."""
    return max(1, room // max(number, 1))


def _shared(cells: Array, rows: int, columns: int) -> Array:
    """Return a smaller picture; each of its cells is set if any of ``rows x columns`` is."""
    across, along = np.arange(0, len(cells), rows), np.arange(0, cells.shape[1], columns)
    fewer: Array = np.logical_or.reduceat(cells, across, axis=0)
    shared: Array = np.logical_or.reduceat(fewer, along, axis=1)
    return shared


def _mixed(share: Array, none: Array, all_: Array) -> Pixels:
    """Return colours between two."""
    mixed: Array = none + np.clip(share, 0, 1)[..., None] * (all_ - none)
    return mixed.astype(np.uint8)


def png(picture: Pixels) -> bytes:
    """Return a picture as a PNG file.

    Raises:
        MissingExtraError: pillow is not installed.
    """
    file = BytesIO()
    needs("PIL.Image", "viz", "a picture").fromarray(picture).save(file, "PNG")
    return file.getvalue()


def _labelled(
    picture: Pixels,
    left: Sequence[tuple[int, str]],
    below: Sequence[tuple[int, str]],
    title: str,
    inside: Sequence[tuple[int, int, str, bool]] = (),
) -> Pixels:
    """Return a picture with words beside it, below it and in it.

    Args:
        picture: ``(H, W, 3)``.
        left: Height and text.
        below: Distance from the left and text.
        title: Stands under all.
        inside: Place, text, and whether it is light, on a dark ground.
    """
    images, drawing, fonts = (
        needs(f"PIL.{name}", "viz", "a picture") for name in ("Image", "ImageDraw", "ImageFont")
    )
    font = fonts.load_default(11)
    margin = 8 + max((int(font.getlength(text)) for _, text in left), default=0)
    lines = bool(below) + bool(title)
    height, width = picture.shape[:2]
    whole = images.new("RGB", (width + margin + 8, height + _LINE * lines + 8), "white")
    whole.paste(images.fromarray(picture), (margin, 4))
    draw = drawing.Draw(whole)
    for y, text in left:
        draw.text((margin - 4, y + 4), text, fill="black", font=font, anchor="rm")
    for x, text in below:
        draw.text((margin + x, height + 4 + _LINE // 2), text, fill="black", font=font, anchor="mm")
    for x, y, text, is_light in inside:
        shade = "white" if is_light else "black"
        draw.text((margin + x, y + 4), text, fill=shade, font=font, anchor="mm")
    if title:
        at = (margin + width // 2, height + 4 + _LINE * lines - _LINE // 2)
        draw.text(at, title, fill="black", font=font, anchor="mm")
    return np.asarray(whole)
