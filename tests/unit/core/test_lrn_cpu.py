"""The compiled kernel: what must not change its bits, and how it is compiled and run."""

import subprocess
import sys
import threading

import numba
import pytest
import torch

from alexnet.core import lrn_cpu
from alexnet.core.lrn import local_response_norm, lrn_reference

FORMATS = [torch.contiguous_format, torch.channels_last]
CONSTANTS = (5, 2e-5, 2.0)


def draw(*shape, seed=0):
    return 100 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def every_result(values, gradient):
    """Of both kinds of window, forward and backward."""
    return [
        *(lrn_cpu.across_maps(values, incoming, *CONSTANTS, 2) for incoming in (None, gradient)),
        *(lrn_cpu.within_maps(values, incoming, *CONSTANTS) for incoming in (None, gradient)),
    ]


def assert_same_bits(some, others):
    assert all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


@pytest.fixture
def threads():
    """Sets the number of threads, and sets it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def without(monkeypatch):
    """Hides functions of C, as on a platform that has none of that name."""
    real = lrn_cpu._library_function

    def hide(*names):
        monkeypatch.setattr(
            lrn_cpu,
            "_library_function",
            lambda name, *arguments: None if name in names else real(name, *arguments),
        )

    return hide


@pytest.mark.parametrize("memory_format", FORMATS)
def test_the_number_of_threads_changes_no_bit(threads, without, memory_format):
    values, gradient = (draw(5, 48, 20, 20, seed=s).contiguous(memory_format=memory_format) for s in (0, 1))
    threads(1)
    alone = every_result(values, gradient)
    for count in (2, 3, 7):
        threads(count)
        assert_same_bits(every_result(values, gradient), alone)
    without("GOMP_parallel")
    assert_same_bits(every_result(values, gradient), alone)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_an_image_gets_the_same_bits_in_every_batch(memory_format):
    values, gradient = (draw(5, 48, 17, 19, seed=s).contiguous(memory_format=memory_format) for s in (0, 1))
    whole = every_result(values, gradient)
    for i in range(5):
        one = every_result(*(tensor[i : i + 1] for tensor in (values, gradient)))
        assert_same_bits(one, [result[i : i + 1] for result in whole])


def test_never_more_threads_than_pytorch_may_use_and_one_for_little(monkeypatch, threads):
    used = []
    real = lrn_cpu._on_threads

    def record(address, table, count):
        used.append(count)
        real(address, table, count)

    monkeypatch.setattr(lrn_cpu, "_on_threads", record)
    for count in (1, 2, 3):
        threads(count)
        lrn_cpu.across_maps(draw(8, 48, 20, 20), None, *CONSTANTS, 1)
    lrn_cpu.across_maps(draw(1, 6, 4, 4), None, *CONSTANTS, 1)
    assert used == [1, 2, 3, 1]


def test_without_openmp_each_share_is_taken_by_as_many_threads_as_asked_for(without, monkeypatch, threads):
    without("GOMP_parallel")
    started = []
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: (started.append(thread), start(thread))[1])
    threads(3)
    lrn_cpu.across_maps(draw(8, 48, 20, 20), None, *CONSTANTS, 1)
    assert len(started) == 2


def test_a_result_in_huge_pages_is_the_same(without):
    values = draw(12, 96, 90, 90)
    assert values.nbytes > lrn_cpu.FRESH_BYTES
    huge = lrn_cpu.across_maps(values, None, *CONSTANTS, 1)
    without("madvise")
    assert torch.equal(lrn_cpu.across_maps(values, None, *CONSTANTS, 1), huge)


def test_several_threads_may_normalize_at_once():
    values = [draw(4, 48, 20, 20, seed=s) for s in range(4)]
    alone = [lrn_cpu.across_maps(one, None, *CONSTANTS, 1) for one in values]
    together = [None] * 4

    def work(i):
        together[i] = lrn_cpu.across_maps(values[i], None, *CONSTANTS, 1)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert_same_bits(together, alone)


def test_values_whose_squares_overflow_give_zero_and_what_is_not_a_number_stays_so():
    values = torch.tensor([1e25, 1, 0, 0, 0, float("nan")]).view(1, 6, 1, 1)
    got, wanted = local_response_norm(values, 5, 1.0, 0.75, 2.0), lrn_reference(values, 5, 1.0, 0.75, 2.0)
    torch.testing.assert_close(got, wanted, rtol=0, atol=0, equal_nan=True)
    assert got.flatten().tolist()[:3] == [0, 0, 0]


def test_where_no_cache_can_be_written_the_kernel_is_compiled_in_memory(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    kernel = lrn_cpu._compiled.__wrapped__()
    monkeypatch.setattr(lrn_cpu, "_compiled", lambda: kernel)
    values = draw(2, 6, 4, 4)
    torch.testing.assert_close(
        lrn_cpu.across_maps(values, None, *CONSTANTS, 1), lrn_reference(values, 5, 2e-5, 0.75, 2.0)
    )


def test_processes_that_compile_at_once_leave_one_cache_that_the_next_uses(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    program = (
        "import torch; from alexnet.core import lrn_cpu;"
        "print(lrn_cpu.across_maps(torch.ones(1, 6, 1, 1), None, 5, 3.75, 1.0, 1)[0, 1].item(),"
        "lrn_cpu._compiled().cache_hits)"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    at_once = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0].split() for process in at_once]
    assert [process.returncode for process in at_once] == [0, 0]
    assert [value for value, _ in printed] == ["0.125"] * 2  # 1 + 3.75 * 4 = 16, and 16 ** 0.75 = 8
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == [
        "0.125",
        "1",
    ]
    assert len(list(tmp_path.rglob("*.nbc"))) == 1
