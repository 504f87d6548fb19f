"""How much memory there is, from the files of a kernel."""

import pytest

from alexnet.data import memory

MEMINFO = "MemTotal:       2000 kB\nMemFree:        100 kB\nMemAvailable:   1000 kB\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def test_without_a_limit_it_is_what_the_machine_can_spare(write):
    write(proc__meminfo=MEMINFO, proc__self__cgroup="0::/user/shell\n", cgroup__user__memory_dot_max="max\n")
    assert memory.available_memory() == 1000 * 1024


@pytest.mark.parametrize("group", ["user__shell__", "user__", ""])
def test_a_limit_counts_wherever_above_the_process_it_is_set(write, group):
    write(proc__meminfo=MEMINFO, proc__self__cgroup="0::/user/shell\n")
    write(**{f"cgroup__{group}memory_dot_max": "5000\n"})
    assert memory.available_memory() == 5000


def test_limits_of_the_older_kind_count_too(write):
    write(proc__meminfo=MEMINFO, proc__self__cgroup="5:cpu:/x\n4:memory:/job\n0::/\n")
    write(cgroup__memory__job__memory_dot_limit_in_bytes="7000\n")
    write(cgroup__memory__memory_dot_limit_in_bytes="9223372036854771712\n")
    assert memory.available_memory() == 7000


def test_a_kernel_that_tells_nothing_is_no_error(write):
    assert memory.available_memory() is None
