"""What changed between two commits, or between a commit and the working tree."""

from __future__ import annotations

import math

from alexnet.data.revisions import read_revision
from alexnet.errors import UserError
from alexnet.report.compare import Comparison, compare


def run(before: str, after: str | None, tolerance: float) -> Comparison:
    """The comparison of two revisions, `after` being the working tree if None.

    Raises UserError if a revision or git is not there, or a file cannot be read.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise UserError("--tolerance", "is no tolerance", found=tolerance, expected="0 or more")
    return compare(read_revision(before), read_revision(after), tolerance)
