"""Hardware targets: listed, and printed with the source of each number."""

from __future__ import annotations

from collections.abc import Sequence

from snnplug.errors import TargetError, did_you_mean
from snnplug.hardware.target import load_target, packaged_targets


def targets_command(args: Sequence[str]) -> int:
    """Run ``snnplug targets [ls|show NAME]``."""
    match list(args):
        case [] | ["ls"]:
            print(f"{'name':<16} {'nm':>3}  {'family':<16} {'scope':<10} summary")
            for name in packaged_targets():
                t = load_target(name)
                print(f"{name:<16} {t.technology_nm:>3}  {t.family:<16} {t.scope:<10} {t.summary}")
        case ["show", name]:
            packaged = packaged_targets()
            if name not in packaged:
                raise TargetError(f"no hardware target {name!r}. {did_you_mean(name, packaged)}")
            print(packaged[name].read_text(encoding="utf-8"), end="")
        case _:
            raise TargetError(f"targets {' '.join(args)}: usage is targets [ls | show NAME]")
    return 0
