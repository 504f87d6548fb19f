"""Images for the benchmarks: those of a tar, or as many drawn ones; and what measured them."""

from __future__ import annotations

import io
import os
import platform
import tarfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import simplejpeg

from alexnet.core.drawing import Look, draw_image

DRAWN = 200
SIZES = [
    (375, 500),
    (500, 375),
    (333, 500),
    (400, 500),
    (500, 500),
    (768, 1024),
    (240, 320),
]  # as in ImageNet


def find_photographs(path: Path | None, folder: Path) -> Path:
    """The tar of photographs at `path`, or one of drawn images that this writes into `folder`."""
    if path is not None:
        return path
    drawn = folder / "drawn.tar"
    with tarfile.open(drawn, "w") as archive:
        for number in range(DRAWN):
            rng = np.random.default_rng(number)
            height, width = SIZES[number % len(SIZES)]
            image = draw_image(Look("star", "striped", "red"), height, width, rng)
            content = simplejpeg.encode_jpeg(image, 90, "RGB", "420")
            header = tarfile.TarInfo(f"drawn_{number:03}.JPEG")
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return drawn


def describe_machine(*packages: str) -> dict[str, object]:
    """Machine and versions, as they stand in each benchmark's report."""
    model = "unknown"
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        models = [
            line.partition(":")[2].strip() for line in cpu.read_text().splitlines() if "model name" in line
        ]
        model = models[0] if models else model
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"machine": f"{model}, {os.cpu_count()} cores", "versions": versions}
