"""One of several processes that train a member; run by test_train_together.py.

Arguments: the project, the mode, and after how many checkpoints to die (0: never). A checkpoint follows each update.
"""

from __future__ import annotations

import sys
from pathlib import Path

from alexnet.data import checkpoint
from alexnet.stages import train
from tests.unit.stages.test_train import run


def die_after(checkpoints: int) -> None:
    """Makes the process that writes leave after so many checkpoints."""
    real, done = checkpoint.Checkpoints.write, []

    def write(self, entries, pieces, about):
        real(self, entries, pieces, about)
        done.append(about)
        if len(done) == checkpoints:
            raise SystemExit(7)

    checkpoint.Checkpoints.write = write


def main(project: str, mode: str, checkpoints: str, epochs: str) -> None:
    """Trains."""
    checkpoint.LEAST_PAUSE_S = checkpoint.WORTH = 0.0
    die_after(int(checkpoints))
    run(Path(project), "net", epochs=int(epochs), setup=train.Setup("cpu", 1, mode))


if __name__ == "__main__":
    main(*sys.argv[1:])
