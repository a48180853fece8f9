"""What the PyTorch recommenders share: device, seed, batches, several processes under torchrun, weights as arrays.

Every process of a `torchrun --nproc_per_node=N` run holds all data and draws the same batches from the same seed; each
computes its share of a batch, gradients are summed, and so all end with the same weights as one process would have.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed

from models.artifact import Arrays

_WORTH_SHARING = 2e7  # multiplications; about a millisecond of one core


@dataclass(frozen=True)
class Group:
    """The processes that train together; one process alone is a group, too."""

    rank: int = 0
    size: int = 1

    def share(self, rows: torch.Tensor) -> torch.Tensor:
        """This process's part of a batch's rows; parts differ by at most one row, a small batch leaves some empty."""
        return rows[self.rank :: self.size]

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Sum over all processes, in every process."""
        if self.size > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def sum_gradients(self, parameters: Iterator[torch.nn.Parameter]) -> None:
        """Give every process the sum of all gradients, in one message; a loss must be divided by the whole batch."""
        if self.size == 1:
            return
        used = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.flatten() for parameter in used if parameter.grad is not None])
        distributed.all_reduce(flat)
        for parameter, part in zip(used, torch.split(flat, [parameter.numel() for parameter in used]), strict=True):
            parameter.grad = part.view_as(parameter)


def training_group() -> Group:
    """The group that torchrun's environment variables describe (RANK, WORLD_SIZE, …); without them, one process.

    Processes talk by nccl where each has a GPU of its own and else by gloo. They stay joined until the process ends.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Group()
    if not distributed.is_initialized():
        several = torch.cuda.is_available() and torch.cuda.device_count() >= int(
            os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])
        )
        if several:
            torch.cuda.set_device(choose_device())
        distributed.init_process_group("nccl" if several else "gloo")
        atexit.register(distributed.destroy_process_group)
    return Group(distributed.get_rank(), distributed.get_world_size())


def choose_device() -> torch.device:
    """A GPU when there is one (with torchrun: each process its own), else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def bfloat16_products(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware; where it does not, bf16 is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make all random numbers of PyTorch follow from `seed` inside, and leave its generators as they were outside."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed % 2**63)
        yield


@contextmanager
def threads_for(multiplications: float) -> Iterator[None]:
    """Compute on one thread inside where a step is too small to share: threads that wait for each other cost more."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if multiplications > _WORTH_SHARING else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def batches(rows: int, size: int, generator: torch.Generator) -> list[torch.Tensor]:
    """One epoch: the numbers 0 to rows - 1, shuffled and cut into batches of `size` (the last may be shorter)."""
    return list(torch.split(torch.randperm(rows, generator=generator), size))


def weights_as_arrays(module: torch.nn.Module) -> Arrays:
    """Every parameter and buffer as a float32 (or integer) array on the CPU, by its name in the module."""
    return {name: value.detach().cpu().numpy().copy() for name, value in module.state_dict().items()}


def set_weights(module: torch.nn.Module, arrays: Arrays) -> None:
    """Take back what `weights_as_arrays` gave."""
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
