"""The ``snnplug`` command."""
