"""A small classification task that a spiking network learns in seconds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


def loader(
    samples: int = 60, steps: int = 6, batch_size: int = 20
) -> DataLoader[tuple[Tensor, ...]]:
    """Return batches ``(T, B, 9)`` of three classes; each spikes on its own three inputs."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(samples) % 3
    chance = torch.full((samples, 9), 0.05)
    for k, target in enumerate(targets.tolist()):
        chance[k, 3 * target : 3 * target + 3] = 0.8
    frames = (torch.rand(steps, samples, 9, generator=generator) < chance).float()

    def collate(batch: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return torch.stack([x for x, _ in batch], 1), torch.stack([y for _, y in batch])

    dataset = TensorDataset(frames.transpose(0, 1), targets)
    return DataLoader(dataset, batch_size=batch_size, collate_fn=collate)
