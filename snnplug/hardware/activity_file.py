"""A measured activity on disk: priced again later, on other targets, without torch."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from snnplug.errors import MeasurementError
from snnplug.files import write_whole
from snnplug.hardware.activity import Activity, Layer


def save_activity(activity: Activity, path: str | Path) -> Path:
    """Write an activity as JSON, whole or not at all.

    Raises:
        ArgumentError: The file cannot be written.
    """
    return write_whole(path, activity.to_json() + "\n")


def load_activity(path: str | Path) -> Activity:
    """Read what :func:`save_activity` wrote.

    Raises:
        MeasurementError: There is no such file, or it holds no activity.

    Example:
        >>> from tempfile import mkdtemp
        >>> from snnplug.hardware.activity import NeuronLayer
        >>> one = Activity(1, (NeuronLayer("n", "Leaky", 4, 2, 3, True, "none", True),))
        >>> load_activity(save_activity(one, mkdtemp() + "/activity.json")) == one
        True
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise MeasurementError(f"cannot read the activity {path}: {error.strerror}") from error
    except ValueError as error:
        raise MeasurementError(f"{path} holds no activity: {error}") from error
    try:
        activity = Activity.from_json(text)
        _check_count("samples", activity.samples)
        for layer in activity.layers:
            _check(layer)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise MeasurementError(
            f"{path} holds no activity: {reason}; give what save_activity or "
            "`snnplug estimate --save-activity` wrote"
        ) from error
    return activity


def _check(layer: Layer) -> None:
    """Refuse what would price to nonsense: every count is an integer and not negative."""
    for f in fields(layer):
        value = getattr(layer, f.name)
        if f.type == "int":
            _check_count(f"{layer.name}.{f.name}", value)
        elif f.type in ("str", "Leak") and not isinstance(value, str):
            raise ValueError(f"{layer.name}.{f.name} is {value!r}, no text")


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is {value!r}, no count")
