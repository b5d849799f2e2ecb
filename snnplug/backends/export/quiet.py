"""What torch's exporters say while they work, kept back."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO

_LOGGERS = (
    "torch.onnx",
    "torch.export",
    "torch._export.serde.serialize",
    "torch.fx.experimental.symbolic_shapes",
)


@contextmanager
def quietly() -> Iterator[None]:
    """Keep back what exporters say while they work: progress, and packages that are not needed."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):  # it prints graphs there
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
