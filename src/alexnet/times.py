"""How long each stage took and on what, for the report. No stage reads it, and nothing is made again on its account."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

from alexnet import paths
from alexnet.data.whole import write_whole


@contextlib.contextmanager
def time_stage(stage: str, device: str = "cpu") -> Iterator[None]:
    """Writes work/times/STAGE.json, what the block took by the clock on the wall, if it ends well.

    stage: its command, such as "predict cnn1 val". device: what computes, in words.
    """
    began = time.perf_counter()
    yield
    about = {"stage": stage, "seconds": round(time.perf_counter() - began, 1), "device": device}
    write_whole(paths.time_file(stage), json.dumps(about) + "\n")
