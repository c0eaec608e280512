"""Several training processes, started by `torchrun`: who we are, and what they bring together in a step.

Every process draws the same global batches and works on its part. A loss term of a process is its share of
the term of the global batch: what is counted is counted over all processes, and what is contrasted is
contrasted with the items of all. So the shares, and their gradients, are simply summed, and the objective is
that of one process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Value = TypeVar("Value")
Total = Callable[[Tensor], Tensor]  # a number of this process -> its sum over processes, without gradient


def alone(value: Tensor) -> Tensor:
    """The `Total` of one process."""
    return value


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
        """Our part of a batch of `size` items; not empty if there are at least as many as processes."""
        edges = [size * rank // self.count for rank in (self.rank, self.rank + 1)]
        return slice(*edges)

    @torch.no_grad()
    def total(self, value: Tensor) -> Tensor:
        """The sum over processes of a count or another number without gradient."""
        if self.count == 1:
            return value
        summed = value.clone()
        dist.all_reduce(summed)
        return summed

    def gather(self, mine: Tensor, first: int, size: int) -> Tensor:
        """[size, ...] the rows of all processes, ours from `first` on; gradients find their way back."""
        if self.count == 1:
            return mine
        # gloo sums no bfloat16 in every release
        rows: Tensor = _Gathered.apply(mine.float(), first, size)  # type: ignore[no-untyped-call]
        return rows

    def sum_gradients(self, model: nn.Module, values: Tensor) -> Tensor:
        """Replace each gradient by the sum over processes; also sum `values`."""
        if self.count == 1:
            return values
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([*(grad.flatten() for grad in grads), values])
        dist.all_reduce(flat)
        pieces = flat.split([*(grad.numel() for grad in grads), values.numel()])  # type: ignore[no-untyped-call]
        for parameter, piece in zip(parameters, pieces, strict=False):
            parameter.grad = piece.view_as(parameter)
        summed: Tensor = pieces[-1]
        return summed

    def wait_for_all(self) -> None:
        """Go on when every process has come here."""
        if self.count > 1:
            dist.barrier()

    def same_everywhere(self, value: Value | None) -> Value:
        """The first process's value, in every process; the others may give None."""
        holder = [value]
        if self.count > 1:
            dist.broadcast_object_list(holder, src=0)
        assert holder[0] is not None
        return holder[0]


class _Gathered(torch.autograd.Function):
    """Rows of all processes. As a sum with zeros, which takes parts of any size and is exact."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, first: int, size: int) -> Tensor:
        ctx.place = slice(first, first + len(mine))
        rows = mine.new_zeros(size, *mine.shape[1:])
        rows[ctx.place] = mine
        dist.all_reduce(rows)
        return rows

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        # each process derives its own share of the loss by all rows
        grad = grads[0].clone()
        dist.all_reduce(grad)
        return grad[ctx.place], None, None


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
