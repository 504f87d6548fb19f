"""Image files of a user's own, brought to the form of a prepared data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet.core.resize import centre_square, resized_shape
from alexnet.data.decode import MAX_PIXELS, DecodeError, decode_rgb
from alexnet.data.shards import Manifest
from alexnet.errors import UserError


def read_squares(files: Sequence[Path], manifest: Manifest) -> npt.NDArray[np.uint8]:
    """The images (N, side, side, 3) uint8 RGB, resized and cut as `prepare` did those of the manifest's data set.

    Raises UserError on the first file that is not there, is no image, or cannot be resized.
    """
    return np.stack([_read_square(file, manifest) for file in files])


def _read_square(file: Path, manifest: Manifest) -> npt.NDArray[np.uint8]:
    try:
        image = decode_rgb(file.read_bytes())
    except OSError as error:
        raise UserError(str(file), f"cannot be read: {error.strerror}", fix="Name an image file.") from None
    except DecodeError as error:
        raise UserError(
            str(file), f"is no image that can be decoded: {error.reason}", fix="Name a JPEG, PNG, GIF, BMP or PPM."
        ) from None  # fmt: skip
    height, width = resized_shape(image.shape[0], image.shape[1], manifest.resize)
    if height * width > MAX_PIXELS:
        raise UserError(
            str(file),
            f"is too long and thin: {image.shape[1]}x{image.shape[0]} would become {width}x{height}",
        )
    return centre_square(image, manifest.resize, manifest.interpolation)  # type: ignore[arg-type]
