"""The backends by name."""

from __future__ import annotations

from importlib import import_module

from snnplug.backends.base import Backend
from snnplug.errors import BackendError, did_you_mean

#: Each name and the class that it stands for, imported when it is asked for.
_BACKENDS = {
    "auto": "auto.Auto",
    "eager": "eager.Eager",
    "fused": "fused.Fused",
    "compiled": "compiled.Compiled",
    "cuda": "cuda.Cuda",
    "mps": "mps.Mps",
}


def names() -> tuple[str, ...]:
    """Return the names of all backends, those that do not run here included."""
    return tuple(_BACKENDS)


def get(name: str) -> Backend:
    """Return the backend of this name.

    Args:
        name: One of :func:`names`.

    Raises:
        BackendError: There is no backend of this name.

    Example:
        >>> get("fused").available()[0]
        True
    """
    if name not in _BACKENDS:
        raise BackendError(f"backend {name!r} is unknown. {did_you_mean(name, names())}")
    module, _, cls = _BACKENDS[name].partition(".")
    found: Backend = getattr(import_module(f"snnplug.backends.{module}"), cls)()
    return found
