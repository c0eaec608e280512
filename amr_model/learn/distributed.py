"""Several training processes, started by `torchrun`: who we are, and one sum per step.

Every process draws the same global batches and works on its part. Gradients and loss values are summed in
one call, weighted by the items of each part, so that the step is the same in every process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """This process among all."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def part(self, size: int) -> slice:
        """Our part of a batch of `size` items; may be empty."""
        edges = [size * rank // self.count for rank in (self.rank, self.rank + 1)]
        return slice(*edges)

    def sum_gradients(self, model: nn.Module, values: Tensor, share: float) -> Tensor:
        """Replace each gradient by the processes' sum, each weighted by its `share`; also sum `values`."""
        if self.count == 1:
            return values
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([*(grad.flatten() for grad in grads), values]) * share
        dist.all_reduce(flat)
        pieces = flat.split([*(grad.numel() for grad in grads), values.numel()])  # type: ignore[no-untyped-call]
        for parameter, piece in zip(parameters, pieces, strict=False):
            parameter.grad = piece.view_as(parameter)
        summed: Tensor = pieces[-1]
        return summed

    def same_everywhere(self, value: Value | None) -> Value:
        """The first process's value, in every process; the others may give None."""
        holder = [value]
        if self.count > 1:
            dist.broadcast_object_list(holder, src=0)
        assert holder[0] is not None
        return holder[0]


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """This process among those that `torchrun` started; alone without it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(rank=dist.get_rank(), count=count)
    finally:
        dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """The GPU of this process where `torchrun` started one process for each."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device
