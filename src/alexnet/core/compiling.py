"""Compiles kernels for the CPU by numba, once per machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compile_kernel(function: Callable[..., None], signature: Any) -> Any:
    """`function`, compiled for one signature; while it runs, other threads run too.

    The result is kept beside the function's source or in the user's cache, or compiled anew by each process where
    neither can be written. There is a single signature, so processes that compile at once write the same files, each
    by renaming. Whatever the function calls must lie in its own file: the cache looks at no other for changes.
    """
    try:
        return numba.njit(signature, cache=True, nogil=True)(function)
    except (OSError, RuntimeError):
        return numba.njit(signature, nogil=True)(function)
