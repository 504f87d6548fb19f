"""Two processes, a column each or a part of each minibatch, compute what one does (§3.2)."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from alexnet.core.team import Team
from alexnet.launch import launch

ROOT = Path(__file__).parents[3]
CASES = [
    "two_columns default", "two_columns paper", "two_columns code2012", "no_crossing default",
    "without_conv3 default", "six_conv_bottleneck code2012",
]  # fmt: skip


def run_two(folder, kind):
    """What each of two processes found, by rank."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "src"), before])
    try:
        code = launch(
            [str(folder), kind],
            2,
            program=(sys.executable, "-W", "error", "-m", "tests.unit.core.columns_run"),
        )
    finally:
        os.environ["PYTHONPATH"] = before
    assert code == 0
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes found on CPUs."""
    return run_two(tmp_path_factory.mktemp("columns"), "cpu")


@pytest.mark.parametrize(("gpus", "backend"), [(1, "gloo"), (2, "nccl")])
def test_columns_on_gpus_give_the_logits_and_gradients_of_one(tmp_path, monkeypatch, gpus, backend):
    """Two processes share one GPU over gloo; over nccl each needs its own."""
    if torch.cuda.device_count() < gpus:
        pytest.skip(f"needs {gpus} GPU(s) for {backend}: {torch.cuda.device_count()} here")
    if gpus == 1:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    for rank in run_two(tmp_path, "cuda"):
        assert rank["backend"] == backend
        for case in rank["cases"].values():
            assert max(case.get("logits", 0), case["gradients"]) < 1e-10
            assert case["bytes"] == case["hand_bytes"]


@pytest.mark.parametrize("case", CASES)
def test_columns_give_the_logits_and_gradients_of_one_device_in_float64(found, case):
    assert found[0]["cases"][case]["logits"] < 1e-12
    assert max(rank["cases"][case]["gradients"] for rank in found) < 1e-12


def test_columns_give_the_logits_and_gradients_of_one_device_at_full_size_in_float32(found):
    assert found[0]["full"]["logits"] < 1e-5
    assert max(rank["full"]["gradients"] for rank in found) < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_each_column_sends_as_many_bytes_as_counted_by_hand(found, case):
    for rank in found:
        assert rank["cases"][case]["bytes"] == rank["cases"][case]["hand_bytes"]


def test_the_papers_columns_exchange_121_kilobytes_each_for_an_image(found):
    """Half of 60,672 values of four bytes: of pool2, pool5, fc6 and fc7."""
    assert found[0]["full"]["bytes"] == found[1]["full"]["bytes"] == 30_336 * 4


def test_no_column_holds_more_than_056_of_the_parameters(found):
    held = [rank["full"]["held"] for rank in found]
    assert max(held) < 0.56 and sum(held) == pytest.approx(1)


@pytest.mark.parametrize("name", ["default", "code2012"])
def test_after_fifty_updates_in_float64_the_weights_agree(found, name):
    """With dropout, noise, a drop of the rate and conv1 frozen on the way."""
    for rank in found:
        assert rank["training"][name]["weights"] < 1e-9
        assert rank["training"][name]["velocities"] < 1e-9
        whole, parts = rank["training"][name]["norms"]
        assert parts == pytest.approx(whole, rel=1e-9)
    losses = found[0]["training"][name]["losses"]
    assert all(part == pytest.approx(whole, rel=1e-9) for whole, part in losses)
    assert len({round(whole, 3) for whole, _ in losses}) > 40


@pytest.mark.parametrize("batch", ["16", "5", "1"])
def test_parts_of_minibatches_give_the_update_of_the_whole(found, batch):
    """Also where the parts differ in size, and where one process has no image at all."""
    for rank in found:
        assert rank["data"][batch]["weights"] < 1e-4
    assert sum(rank["data"][batch]["images"] for rank in found) == int(batch) * 8


def test_the_first_process_collects_and_decides(found):
    assert found[0]["collected"] == [[0, 1, 2], [10, 11, 12]] and found[1]["collected"] == []
    assert [rank["agreed"] for rank in found] == [[1.5], [1.5]]
    assert [rank["total"] for rank in found] == [[4.0], [4.0]]
    assert [rank["largest"] for rank in found] == [[2.5], [2.5]]


def test_alone_nothing_is_exchanged():
    alone = Team()
    assert alone.agree([3.0]) == alone.total([3.0]) == [3.0]
    assert alone.is_first and alone.column is None
