"""Where a network runs, ``snnplug.backends.get("compiled")``, and how it leaves for other tools."""

from snnplug.backends.registry import get as get
from snnplug.backends.registry import names as names
from snnplug.backends.registry import trainer_kwargs as trainer_kwargs
