"""When a training gets down to an error."""

from __future__ import annotations

from collections.abc import Sequence


def epochs_to(errors: Sequence[float], level: float) -> float | None:
    """The epoch, from 1, at which errors of successive epochs first come down to `level`; None if they never do.

    A line between the epoch that gets there and the one before tells the part of it, as whole epochs are coarse.
    """
    for epoch, error in enumerate(errors, start=1):
        if error <= level:
            before = errors[epoch - 2] if epoch > 1 else error
            return 1.0 if epoch == 1 else epoch - 1 + (before - level) / (before - error)
    return None
