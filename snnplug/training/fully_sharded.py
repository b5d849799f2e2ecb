"""FSDP2: each process keeps a part of the weights, their gradients and the optimiser's state."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from snnplug.errors import ArgumentError


class FullyShardedStrategy(ModelParallelStrategy):
    """``--trainer.strategy=fsdp2``: weights parted among all processes, which share the data.

    The checkpoint is one file with whole weights, the same as that of a run in one process: either
    goes on with the other's.

    Args:
        **kwargs: Of :class:`~lightning.pytorch.strategies.ModelParallelStrategy`, such as
            ``process_group_backend``.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(strategy="fsdp2", devices=2, accelerator="cpu", logger=False,
        ...                      enable_checkpointing=False, enable_progress_bar=False,
        ...                      enable_model_summary=False)
        >>> type(trainer.strategy).__name__
        'FullyShardedStrategy'
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False, **kwargs)

    def setup_environment(self) -> None:
        """Give every process a part of the data, on all nodes."""
        self._data_parallel_size = self.num_processes * self.num_nodes
        super().setup_environment()


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Part the parameters of a network among processes, in place; nothing if that is done.

    The network is one group: whole from the beginning of its forward pass to the end, so that an
    operator over several layers finds the weights of each. Hidden state is no parameter, and no
    process sends it to another.

    Args:
        network: Takes frames ``(T, B, *)``.
        mesh: The processes, one axis.

    Raises:
        ArgumentError: A parameter is a single number without an axis, which torch cannot part.
    """
    if not isinstance(network, FSDPModule):
        single = [name for name, p in network.named_parameters() if p.dim() == 0]
        if single:
            raise ArgumentError(
                f"strategy fsdp2 cannot part {', '.join(single)}, a number without an axis; give a "
                "tensor of one value for each neuron, do not learn it, or use strategy ddp"
            )
        # Parted again after the forward pass: what reads a weight then gets a part that says so.
        fully_shard(network, mesh=mesh, reshard_after_forward=True)


def whole(parameter: Tensor) -> Tensor:
    """Return a parameter as one tensor; where it is parted, every process has to call this."""
    return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter


StrategyRegistry.register("fsdp2", FullyShardedStrategy, description="FSDP2 over all processes")
