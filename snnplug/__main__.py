"""``python -m snnplug`` is the same command as ``snnplug``."""

from snnplug.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
