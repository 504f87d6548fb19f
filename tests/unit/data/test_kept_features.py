"""Features that are kept: found by their key alone, taken up where they were left."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alexnet.data import kept_features
from alexnet.data.kept_features import grow, hash_inputs, open_kept
from alexnet.errors import UserError

WHOLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def fill(path: Path, key: str = "a", rows: np.ndarray = WHOLE) -> list[int]:
    """Keeps the rows, one at a time; returns the numbers of those that were still missing."""
    with grow(path, key, rows.shape) as growing:
        missing = list(range(growing.done, len(rows)))
        for number in missing:
            growing.add(rows[number : number + 1])
    return missing


def stop_after(path: Path, count: int, key: str = "a") -> None:
    with pytest.raises(KeyboardInterrupt), grow(path, key, WHOLE.shape) as growing:
        growing.add(WHOLE[:count])
        raise KeyboardInterrupt


def test_features_are_kept_for_their_key(tmp_path):
    path = tmp_path / "features/net.npy"
    assert open_kept(path, "a") is None
    assert fill(path) == [0, 1, 2, 3]
    kept = open_kept(path, "a")
    assert isinstance(kept, np.memmap) and np.array_equal(kept, WHOLE)
    assert open_kept(path, "b") is None
    assert sorted(file.name for file in path.parent.iterdir()) == ["net.npy", "net.npy.json", "net.npy.lock"]
    fill(path, "b", WHOLE[:2] + 1)
    kept = open_kept(path, "b")
    assert kept is not None and np.array_equal(kept, WHOLE[:2] + 1)


def test_what_was_done_is_not_done_again(tmp_path):
    path = tmp_path / "net.npy"
    stop_after(path, 2)
    assert open_kept(path, "a") is None
    assert fill(path) == [2, 3]
    assert np.array_equal(open_kept(path, "a"), WHOLE)


def test_what_was_done_for_another_key_is_done_again(tmp_path):
    path = tmp_path / "net.npy"
    stop_after(path, 2, "b")
    assert fill(path) == [0, 1, 2, 3]
    stop_after(path, 2, "c")
    assert np.array_equal(open_kept(path, "a"), WHOLE)  # the earlier ones stay until there are new ones


def test_progress_is_noted_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_features, "NOTE_EVERY_S", 0.0)
    path = tmp_path / "net.npy"
    with grow(path, "a", WHOLE.shape) as growing:
        growing.add(WHOLE[:3])
        shutil.copytree(tmp_path, tmp_path / "killed")  # what another process would find now
        growing.add(WHOLE[3:])
    assert fill(tmp_path / "killed/net.npy") == [3]


def test_a_second_process_is_told_to_wait(tmp_path):
    path = tmp_path / "net.npy"
    with (
        pytest.raises(UserError, match="another process is computing these features"),
        grow(path, "a", WHOLE.shape) as growing,
    ):
        growing.add(WHOLE[:1])
        fill(path)
    assert fill(path) == [1, 2, 3]


def test_a_full_disk_is_met_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7))
    with pytest.raises(UserError, match="no room for the features"):
        fill(tmp_path / "net.npy")
    assert not (tmp_path / "net.npy.part").exists()


def test_a_damaged_file_is_not_taken_for_features(tmp_path):
    path = tmp_path / "net.npy"
    fill(path)
    path.write_bytes(path.read_bytes()[:100])
    assert open_kept(path, "a") is None
    path.unlink()
    assert open_kept(path, "a") is None


def test_the_key_changes_with_each_input(tmp_path):
    files = [tmp_path / name for name in ("weights", "manifest.json", "mean_image.npy")]
    for file in files:
        file.write_text(file.name)
    keys = {hash_inputs(files[0], tmp_path, tmp_path)}
    for file in files:
        file.write_text("changed")
        keys.add(hash_inputs(files[0], tmp_path, tmp_path))
    assert len(keys) == 4
    files[2].unlink()
    with pytest.raises(UserError, match="mean_image.npy: cannot be read"):
        hash_inputs(files[0], tmp_path, tmp_path)
