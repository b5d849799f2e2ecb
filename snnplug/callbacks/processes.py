"""What the processes of a run tell each other."""

from __future__ import annotations

import lightning.pytorch as pl
import torch


def gather_texts(text: str, trainer: pl.Trainer, device: torch.device) -> list[str]:
    """Return the texts of all processes, in their order; each has to call this.

    Args:
        text: That of this process.
        trainer: Knows the processes.
        device: Of this process.
    """
    if trainer.world_size == 1:
        return [text]
    mine = torch.tensor(list(text.encode()), dtype=torch.uint8, device=device)
    lengths = trainer.strategy.all_gather(torch.tensor([len(mine)], device=device)).flatten()
    padded = torch.zeros(int(lengths.max()), dtype=torch.uint8, device=device)
    padded[: len(mine)] = mine
    rows = trainer.strategy.all_gather(padded).reshape(len(lengths), -1)
    pairs = zip(rows.tolist(), lengths.tolist(), strict=True)
    return [bytes(row[:length]).decode() for row, length in pairs]
