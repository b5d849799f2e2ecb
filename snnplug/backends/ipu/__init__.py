"""Graphcore's IPU, as far as it goes without one: a bundle to take there, and a static checker.

PopTorch 3.4, the last there is, needs torch 2.0.1; Lightning 2.6 needs a later one. The two cannot
share a process, so a network goes to an IPU as a bundle. Nothing in this package was run on an IPU.
"""

from snnplug.backends.ipu.export import load_weights, training_step, write_bundle
from snnplug.backends.ipu.readiness import Finding, Readiness, check_ipu
from snnplug.backends.ipu.spec import describe_network

__all__ = [
    "Finding",
    "Readiness",
    "check_ipu",
    "describe_network",
    "load_weights",
    "training_step",
    "write_bundle",
]
