"""Runs one stage through DVC, as Snakemake's jobs do: `python workflow/repro.py STAGE`.

DVC runs it only if it is stale, restores it from its cache if it was built like that before, and writes dvc.lock.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

BUSY = "is busy, it is being blocked by"  # --wait-for-lock waits for the repository's lock, not for that of a file


def repro(stage: str) -> int:
    """The exit code of DVC, asked again while somebody else holds one of the stage's files."""
    # Last, so that it counts only where the environment is not activated.
    environment = {
        **os.environ,
        "PATH": f"{os.environ.get('PATH', '')}{os.pathsep}{Path(sys.executable).parent}",
    }
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", stage]
    while True:
        code, is_busy = pass_on(command, environment)
        if code == 0 or not is_busy:
            return code
        time.sleep(1)


def pass_on(command: list[str], environment: dict[str, str]) -> tuple[int, bool]:
    """The exit code, and whether the command said that it was kept out; what it prints is printed as it comes."""
    is_busy = False
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            is_busy |= BUSY in line
            print(line, end="", flush=True)
    return process.returncode, is_busy


if __name__ == "__main__":
    sys.exit(repro(sys.argv[1]))
