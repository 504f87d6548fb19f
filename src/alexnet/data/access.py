"""What a file that cannot be read or written says to the user."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from alexnet.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def explain_access(where: str) -> Iterator[None]:
    """Turns an OSError inside the block into a UserError about `where`, or about the file that the error names."""
    try:
        yield
    except OSError as error:
        raise explain(error, where) from error


def explain(error: OSError, where: str) -> UserError:
    """The UserError that says what is the matter with a file."""
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else where
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in FULL:
        return UserError(place, "no space is left on the disk", fix="Make room and start it again.")
    if error.errno in FORBIDDEN:
        return UserError(
            place, f"cannot be read or written ({reason})", fix="Give yourself the right to, or use another path."
        )  # fmt: skip
    return UserError(place, f"cannot be read or written ({reason})", fix="Check the path and the disk.")


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a file. Raises UserError if it cannot be read or has more than `limit` bytes."""
    with explain_access(str(path)), path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UserError(
            str(path), "is too large", found=f"{path.stat().st_size:,} bytes", expected=f"at most {limit:,}",
            fix="Check that this is the right file.",
        )  # fmt: skip
    return content
