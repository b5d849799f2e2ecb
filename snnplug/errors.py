"""The errors snnplug raises: each message names the value, what is accepted and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Any


class SnnplugError(Exception):
    """Base of every error that snnplug raises on purpose."""


class ArgumentError(SnnplugError, ValueError):
    """An argument has a value that the function cannot work with."""


class DataError(SnnplugError, ValueError):
    """A recording or an image is truncated, corrupt or outside its sensor."""


class DataNotFoundError(SnnplugError, FileNotFoundError):
    """A data set is not where it was looked for."""


class TargetError(SnnplugError, ValueError):
    """A hardware target is unknown or its description is not valid."""


class RecipeError(SnnplugError, ValueError):
    """A recipe is unknown or cannot be read."""


class MeasurementError(SnnplugError, RuntimeError):
    """A hardware figure was asked for, but nothing that could be priced was measured."""


class BackendError(SnnplugError, RuntimeError):
    """A backend is unknown, does not run here, or cannot run the network."""


class MissingExtraError(SnnplugError, ModuleNotFoundError):
    """An optional package is needed and not installed."""


def needs(module: str, extra: str, what: str) -> Any:
    """Import an optional package.

    Args:
        module: Its name.
        extra: The extra of snnplug that installs it.
        what: What needs it, for the message.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{what} needs {error.name}; run pip install 'snnplug[{extra}]'"
        ) from error


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return the sentence that an error about an unknown name ends with.

    Args:
        name: What the user wrote.
        options: The names that exist.

    Returns:
        The nearest option when one is near, then all options.

    Example:
        >>> did_you_mean("quikstart", ["quickstart", "mnist"])
        'Did you mean quickstart? Known: mnist, quickstart.'
    """
    known = sorted(options)
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return f"{hint}Known: {', '.join(known) or 'none'}."
