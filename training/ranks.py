"""Several processes training one generator, as `torchrun` starts them: one for each GPU.

    torchrun --nproc-per-node 4 -m training train CONFIG --out RUN

Every process has lanes of its own and the same weights: gradients are averaged over all of them
before each step. The first one writes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

# Its functions keep the group of their import's time as a default, and torch's optimisers import it
# late. That group would outlive its destruction, and a thread of it that lets go of a tensor
# while the interpreter ends aborts the process.
import torch.distributed.nn
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Rank:
    """Which of how many processes this is."""

    number: int = 0
    count: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """The one that writes."""
        return self.number == 0

    def share_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give every process the mean of all gradients."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def gather(self, values: Tensor) -> Tensor:
        """Join tensors of one shape (N, ...) of all processes, in their order."""
        if self.count == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor (N,) over all processes."""
        return self.gather(values[None]).mean(dim=0)

    def agree(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.count == 1:
            return flag
        votes = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return bool(votes)


def writes() -> bool:
    """Whether this process is the one that writes, before and after it has met the others."""
    return os.environ.get("RANK", "0") == "0"


def join_ranks(device: torch.device) -> tuple[Rank, torch.device]:
    """Meet the processes that `torchrun` started, each on a GPU of its own; alone without it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
        return Rank(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Rank(dist.get_rank(), count, str(device)), device


def leave_ranks() -> None:
    """Say good-bye to the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()
