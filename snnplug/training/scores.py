"""What is logged of the decisions of a stage: mean loss, accuracy, word error rate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.text import WordErrorRate

from snnplug.training.mean_loss import MeanLoss


class Scores(nn.Module):
    """Mean loss and accuracy of a stage, and of sequences the word error rate.

    A sequence is right if it is so from the first to the last class. The word error rate is the
    classes to be changed, added and left out, per class that is right.

    Args:
        num_classes: Classes :math:`C`.

    Example:
        >>> scores = Scores(12)
        >>> said, right = torch.tensor([[3, 1, 4], [2, -1, -1]]), torch.tensor([[3, 4], [2, -1]])
        >>> {name: round(m(*a).item(), 2) for name, m, a in scores.of(said, right)}
        {'wer': 0.33, 'acc': 0.5}
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.word_errors = WordErrorRate()
        self.mean_loss = MeanLoss()

    def of(self, decided: Tensor, targets: Tensor) -> Iterator[tuple[str, Metric, tuple[Any, Any]]]:
        """Yield name, metric and its arguments, for decisions ``(B,)`` or ``(B, L)``."""
        if targets.dim() == 2:
            said, right = _words(decided), _words(targets)
            yield "wer", self.word_errors, (said, right)
            pairs = zip(said, right, strict=True)
            decided = torch.tensor([a == b for a, b in pairs], device=targets.device).long()
            targets = torch.ones_like(decided)  # 1 is right
        yield "acc", self.accuracy, (decided, targets)


def _words(classes: Tensor) -> list[str]:
    """Return the classes of each sequence as words, without what fills it up."""
    return [" ".join(str(k) for k in row if k >= 0) for row in classes.tolist()]
