"""Hardware targets: listed, and printed with the source of each number."""

from __future__ import annotations

import json
from collections.abc import Sequence

from snnplug.errors import TargetError
from snnplug.hardware.target import load_target, other_targets, packaged_targets


def targets_command(args: Sequence[str]) -> int:
    """Run ``snnplug targets [ls|show NAME]``."""
    match list(args):
        case [] | ["ls"]:
            print(f"{'name':<17} {'nm':>3}  {'family':<15} {'scope':<9} summary")
            for name in (*packaged_targets(), *other_targets()):
                t = load_target(name)
                nm = "-" if t.technology_nm is None else t.technology_nm
                print(f"{name:<17} {nm:>3}  {t.family:<15} {t.scope:<9} {t.summary}")
        case ["show", name]:
            packaged = packaged_targets()
            if name in packaged:
                print(packaged[name].read_text(encoding="utf-8"), end="")
            else:
                print(json.dumps(load_target(name).describe(), indent=2))
        case _:
            raise TargetError(f"targets {' '.join(args)}: usage is targets [ls | show NAME]")
    return 0
