from __future__ import annotations

from pathlib import Path

import numba
import numpy as np
import pytest

from alexnet.core.compiling import compile_kernel


def _double(values: np.ndarray) -> None:
    for i in range(len(values)):
        values[i] *= 2


def test_where_no_cache_can_be_written_a_kernel_is_compiled_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    values = np.arange(5)
    compile_kernel(_double, numba.void(numba.int64[::1]))(values)
    assert values.tolist() == [0, 2, 4, 6, 8]


def test_kernel_is_compiled_once_and_then_taken_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    kernels = [compile_kernel(_double, numba.void(numba.int64[::1])) for _ in range(2)]
    assert [len(kernel.stats.cache_hits) for kernel in kernels] == [0, 1]
    assert len(list(tmp_path.rglob("*.nbc"))) == 1
