"""What an export wrote, and how it compares with the network on the example."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: The file, or the folder.
        values: How many outputs of the example were compared; 0: the format was not run.
        differing: How many of these differ from the network's.
        note: What else there is to know.
    """

    path: Path
    values: int = 0
    differing: int = 0
    note: str = ""

    def __str__(self) -> str:
        lines = [str(self.path)]
        if self.values:
            equal = "all equal" if not self.differing else f"{self.differing} of them DIFFER"
            lines.append(f"{self.values} outputs of the example compared: {equal}")
        return "\n".join([*lines, *([self.note] if self.note else [])])


def compared(path: Path, expected: Tensor, found: Tensor, note: str = "") -> Written:
    """Return what was written, with the number of outputs that differ."""
    return Written(path, expected.numel(), int((expected != found).sum()), note)
