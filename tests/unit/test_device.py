from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from alexnet.device import NO_PROMISE, choose_backend, describe_device, leave_group, open_device
from alexnet.errors import UserError

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)

JOIN = """
import json, os, sys, torch
from torch import distributed
from alexnet.device import describe_device, join_group, leave_group, open_device
device = open_device("cpu", 1)
join_group(device)
total = torch.tensor([10.0 ** int(os.environ["RANK"])])
distributed.all_reduce(total)
described = describe_device(device, 1, "columns")
leave_group()
if os.environ["RANK"] == "0":
    print(json.dumps({"total": total.item(), **described, "is_left": not distributed.is_initialized()}))
"""
LAUNCH = """
import sys
from alexnet.launch import launch
sys.exit(launch([], 2, program=[sys.executable, "join.py"]))
"""


def test_launched_processes_find_each_other(tmp_path: Path) -> None:
    (tmp_path / "join.py").write_text(JOIN)
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    found = json.loads(done.stdout)
    assert found["total"] == 11
    assert (found["processes"], found["mode"], found["backend"]) == (2, "columns", "gloo")
    assert found["is_left"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("device", "here", "gpus", "expected"),
    [(CPU, "2", 2, "gloo"), (GPU, "2", 1, "gloo"), (GPU, "2", 2, "nccl"), (GPU, "3", 2, "gloo")],
)
def test_nccl_is_for_processes_with_a_gpu_each(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, here: str, gpus: int, expected: str
) -> None:
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", here)
    assert choose_backend(device, gpus) == expected


@pytest.mark.parametrize(
    ("rank", "expected"), [(None, "cuda"), ("0", "cuda:0"), ("1", "cuda:1"), ("2", "cuda:0")]
)
def test_each_process_takes_the_gpu_of_its_rank_or_shares(
    monkeypatch: pytest.MonkeyPatch, rank: str | None, expected: str
) -> None:
    chosen: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    device = open_device("auto", 1)
    assert str(device) == expected
    assert chosen == ([] if rank is None else [device])


def test_a_gpu_that_pytorch_does_not_find_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert open_device("auto", 1) == CPU
    with pytest.raises(UserError) as caught:
        open_device("cuda", 1)
    assert "machine.yaml: device: no GPU can be used, found cuda" in str(caught.value)


def test_a_process_alone_is_in_no_group() -> None:
    leave_group()
    described = describe_device(CPU, 3)
    assert (described["processes"], described["mode"], described["backend"]) == (1, "none", None)
    assert described["threads"] == 3
    assert described["torch"] == torch.__version__
    assert "note" not in described


@pytest.mark.parametrize("setting", ["is_compiled", "is_channels_last"])
def test_the_record_says_when_equal_bytes_are_not_promised(setting: str) -> None:
    described = describe_device(CPU, 1, **{setting: True})
    assert described["note"] == NO_PROMISE
    assert [described["compile"], described["channels_last"]].count(True) == 1


FAULTS = """
import resource, sys, torch
from alexnet.device import open_device
if sys.argv[1] == "open":
    open_device("cpu", 1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(min(faults() for _ in range(6)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has this setting")
def test_memory_given_back_by_one_update_is_kept_for_the_next() -> None:
    """40 MB are some 9,766 pages of 4 KB; what was kept needs none of them anew."""
    found = [
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("open", "leave")
    ]
    assert found[0] < 100 < found[1]


def test_fresh_tensors_are_not_filled() -> None:
    before = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        open_device("cpu", 1)
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = before  # type: ignore[attr-defined]
