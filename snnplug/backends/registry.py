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
    "ipu": "ipu.backend.Ipu",
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
    module, _, cls = _BACKENDS[name].rpartition(".")
    found: Backend = getattr(import_module(f"snnplug.backends.{module}"), cls)()
    return found


def trainer_kwargs(name: str) -> dict[str, str]:
    """Return what ``Trainer`` needs for a backend: its accelerator and strategy, if it has any.

    Args:
        name: One of :func:`names`.

    Raises:
        BackendError: There is no backend of this name, or it does not run here.

    Example:
        >>> trainer_kwargs("fused")
        {}
    """
    backend = get(name)
    runs, reason = backend.available()
    if not runs:
        raise BackendError(f"backend {name!r} does not run here: {reason}")
    if name == "ipu":
        import_module("snnplug.backends.ipu.strategy")  # registers both
    wanted = {"accelerator": backend.accelerator, "strategy": backend.strategy}
    return {key: value for key, value in wanted.items() if value is not None}
