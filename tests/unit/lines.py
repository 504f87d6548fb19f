"""Reads what a process prints, line by line, without waiting for ever."""

from __future__ import annotations

import os
import select
from typing import IO


def read_line(stream: IO[str] | None, seconds: float = 20) -> str:
    """The next line. Byte by byte, since what a buffer has taken already `select` does not see."""
    assert stream is not None
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([stream], [], [], seconds)[0], f"waited in vain after {line!r}"
        byte = os.read(stream.fileno(), 1)
        if not byte:
            break
        line += byte
    return line.decode()
