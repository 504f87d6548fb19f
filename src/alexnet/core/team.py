"""The processes that train one network together: whole copies (`data`), or a column each (`columns`, §3.2)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed._functional_collectives import all_gather_single_autograd

Mode = Literal["none", "columns", "data"]
SENT_AT_ONCE = 1 << 20  # values of a parameter on their way to the first process


@dataclass(frozen=True)
class Team:
    """`rank` of `size` processes; the first one, of rank 0, speaks and writes for all. Alone it is `none`, 0 of 1.

    control: a group of CPU tensors (gloo) for decisions and numbers, whatever carries the activations.
    """

    mode: Mode = "none"
    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    @property
    def column(self) -> int | None:
        """Which column this process holds, None if it holds the whole network."""
        return self.rank if self.mode == "columns" else None

    def agree(self, values: Sequence[float]) -> list[float]:
        """The first process's values, for all."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64)
        dist.broadcast(shared, 0, group=self.control)
        agreed: list[float] = shared.tolist()
        return agreed

    def largest(self, values: Sequence[float]) -> list[float]:
        """The largest values of all processes, for all."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(shared, dist.ReduceOp.MAX, group=self.control)
        found: list[float] = shared.tolist()
        return found

    def wait_for_end(self) -> None:
        """Waits until the first process has left, having said what there is to say."""
        with contextlib.suppress(RuntimeError):  # that is how its leaving shows
            dist.barrier(group=self.control)

    def total(self, values: Sequence[float]) -> list[float]:
        """The sums over all processes, for all."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums, group=self.control)
        totals: list[float] = sums.tolist()
        return totals

    def collect(self, own: Tensor | None, counts: Sequence[int]) -> Iterator[Tensor]:
        """For the first process the values of all, on the CPU and in order of rank; for the others nothing.

        own: this process's part, None if it has none; counts: how many values each process sends. Pieces are small, so
        that no process ever holds what the others do.
        """
        flat = None if own is None else own.detach().reshape(-1)
        for rank, count in enumerate(counts):
            for start in range(0, count, SENT_AT_ONCE):
                length = min(SENT_AT_ONCE, count - start)
                if rank == self.rank:
                    assert flat is not None
                    piece = flat[start : start + length].cpu()
                    if self.is_first:
                        yield piece
                    else:
                        dist.send(piece, 0, group=self.control)
                elif self.is_first:
                    assert flat is not None
                    piece = torch.empty(length, dtype=flat.dtype)
                    dist.recv(piece, rank, group=self.control)
                    yield piece


class ColumnExchange:
    """Activations of all columns by PyTorch's differentiable all-gather; counts the bytes this process sends forward.

    Its backward pass adds up what the columns found for each other's values. Source: §3.2 and Fig. 2, where the columns
    meet before some layers only. gloo's collectives want CPU tensors: two processes that share a GPU go by way of them.
    """

    def __init__(self, team: Team, *, through_cpu: bool) -> None:
        self.team, self.through_cpu = team, through_cpu
        self.bytes_sent = 0

    def gather(self, values: Tensor) -> Tensor:
        """(N, share, ...) to (N, share x columns, ...), for each column."""
        sent = (values.cpu() if self.through_cpu else values).contiguous()
        self.bytes_sent += sent.nbytes * (self.team.size - 1)
        assert dist.group.WORLD is not None
        gathered = all_gather_single_autograd(sent, 0, dist.group.WORLD)
        return torch.cat(gathered.chunk(self.team.size), dim=1).to(values.device)
