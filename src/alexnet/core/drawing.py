"""Pictures of a figure before clutter: the images of the embedded data set.

A class is a `Look`: shape, texture and colour. All else varies from image to image: place, size, rotation
and squeeze of the figure, tone, scale of the texture, background, clutter, light and noise. Sines and the
like are taken of single numbers only, and not of arrays, where their last bit depends on the processor.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

Shape = Literal["disc", "ring", "square", "triangle", "star", "cross", "crescent", "heart", "bar"]
Texture = Literal["plain", "striped", "checked", "dotted", "banded", "halved"]
Colour = Literal["red", "yellow", "green", "blue"]
Image = NDArray[np.uint8]
Contour = list[tuple[float, float]]
Field = NDArray[np.float64]
Outline = tuple[Field, ...]

SHAPES: Final = get_args(Shape)
TEXTURES: Final = get_args(Texture)
COLOURS: Final = get_args(Colour)


@dataclass(frozen=True)
class Look:
    """What the images of one class share."""

    shape: Shape
    texture: Texture
    colour: Colour


# What makes the classes hard to tell apart. Lengths are in units of the image's shorter side.
RADIUS: Final = (0.28, 0.43)  # of the figure
OFF_CENTRE: Final = 0.14  # of the figure, each way
TURN: Final = math.pi / 4  # rotation of the figure, each way
SQUEEZE: Final = 0.7  # smallest ratio of the figure's sides
PERIOD: Final = (0.46, 0.64)  # of the texture, in radii of the figure
CONTRAST: Final = (0.5, 0.9)  # between the two tones of a texture
HUES: Final = {"red": 0.0, "yellow": 0.14, "green": 0.36, "blue": 0.62}
HUE_JITTER: Final = 0.06  # each way
CLUTTER: Final = (2, 6)  # pieces, least and most
CLUTTER_RADIUS: Final = (0.06, 0.22)
CROSSED: Final = 0.3  # part of the images with a line over the figure
COVERED: Final = 0.25  # part of the images with a piece of clutter before all else
LIGHT: Final = (0.55, 1.2)  # brightness at each corner
NOISE: Final = 10.0  # largest, in grey levels

_FRACTION_BITS: Final = 4  # of the coordinates that OpenCV takes
_SUBPIXEL: Final = 1 << _FRACTION_BITS


def draw_image(look: Look, height: int, width: int, rng: np.random.Generator) -> Image:
    """A picture of `look`: (height, width, 3) uint8, RGB, 0-255. All its chance comes from `rng`."""
    image = _draw_background(height, width, rng)
    _draw_figure(image, look, rng)
    if rng.random() < CROSSED:
        _draw_line(image, rng)
    if rng.random() < COVERED:
        _draw_piece(image, rng)
    return _expose(image, rng)


def draw_size(shorter_side: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Height and width of an image, in pixels: one within `shorter_side`, the other up to 1.7 times as long."""
    shorter = shorter_side[0] + int(rng.random() * (shorter_side[1] - shorter_side[0] + 1))
    longer = round(shorter * (1 + 0.7 * rng.random() ** 2))
    return (shorter, longer) if rng.random() < 0.7 else (longer, shorter)


def _between(low_high: tuple[float, float], rng: np.random.Generator) -> float:
    return low_high[0] + (low_high[1] - low_high[0]) * rng.random()


def _around(reach: float, rng: np.random.Generator) -> float:
    return reach * (2 * rng.random() - 1)


# Outlines, about (0, 0), with a radius of about 1.


def _arc(radius: float, start: float, end: float, num: int, centre_x: float = 0.0) -> Contour:
    angles = [start + (end - start) * i / num for i in range(num)]
    return [(centre_x + radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def _outline(*contours: Contour) -> Outline:
    return tuple(np.array(contour) for contour in contours)


def _crescent() -> Contour:
    # The unit circle less a circle of 0.8 about (0.5, 0). They meet at angle `outer`, or `inner` about (0.5, 0).
    x = (1 - 0.8**2 + 0.5**2) / (2 * 0.5)
    outer, inner = math.acos(x), math.acos((x - 0.5) / 0.8)
    back = _arc(0.8, math.tau - inner, inner, 16, centre_x=0.5)
    return [(px + 0.25, py) for px, py in _arc(1.0, outer, math.tau - outer, 24) + back]


def _star() -> Contour:
    points = _arc(1.1, 0.0, math.tau, 10)
    return [(x, y) if i % 2 == 0 else (0.45 * x, 0.45 * y) for i, (x, y) in enumerate(points)]


def _cross() -> Contour:
    quarter = [(0.33, 1.0), (0.33, 0.33), (1.0, 0.33)]
    half = quarter + [(x, -y) for x, y in reversed(quarter)]
    return half + [(-x, -y) for x, y in half]


def _heart() -> Contour:
    angles = [math.tau * i / 32 for i in range(32)]
    ys = [13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a) for a in angles]
    return [(1.1 * math.sin(a) ** 3, y / 15) for a, y in zip(angles, ys, strict=True)]


OUTLINES: Final[dict[Shape, Outline]] = {
    "disc": _outline(_arc(0.95, 0.0, math.tau, 32)),
    "ring": _outline(_arc(1.05, 0.0, math.tau, 32), _arc(0.5, 0.0, math.tau, 24)),
    "square": _outline(_arc(1.2, 0.0, math.tau, 4)),
    "triangle": _outline(_arc(1.25, 0.0, math.tau, 3)),
    "star": _outline(_star()),
    "cross": _outline(_cross()),
    "crescent": _outline(_crescent()),
    "heart": _outline(_heart()),
    "bar": _outline([(1.2, 0.42), (-1.2, 0.42), (-1.2, -0.42), (1.2, -0.42)]),
}


def _place(outline: Outline, matrix: Field, x: float, y: float) -> list[NDArray[np.int32]]:
    """Contours in the fixed point that OpenCV draws, turned and scaled by `matrix`, about pixel (x, y)."""
    return [np.rint((contour @ matrix + (x, y)) * _SUBPIXEL).astype(np.int32) for contour in outline]


def _turn(radius_x: float, radius_y: float, angle: float) -> Field:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[radius_x * cos, radius_x * sin], [-radius_y * sin, radius_y * cos]])


def _draw_background(height: int, width: int, rng: np.random.Generator) -> Image:
    corners = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    smooth = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    image: Image = np.asarray(smooth, dtype=np.uint8)
    for _ in range(CLUTTER[0] + int(rng.random() * (CLUTTER[1] - CLUTTER[0] + 1))):
        _draw_piece(image, rng)
    return image


def _draw_piece(image: Image, rng: np.random.Generator) -> None:
    height, width = image.shape[:2]
    radius = _between(CLUTTER_RADIUS, rng) * min(height, width)
    outline = OUTLINES[SHAPES[int(rng.random() * len(SHAPES))]]
    matrix = _turn(radius, radius * _between((0.5, 1.0), rng), _around(math.pi, rng))
    contours = _place(outline, matrix, rng.random() * width, rng.random() * height)
    cv2.fillPoly(image, contours, _random_colour(rng), cv2.LINE_AA, _FRACTION_BITS)


def _draw_line(image: Image, rng: np.random.Generator) -> None:
    height, width = image.shape[:2]
    ends = [(int(rng.random() * width), int(rng.random() * height)) for _ in range(2)]
    thickness = 1 + int(min(height, width) * 0.05 * rng.random())
    cv2.line(image, ends[0], ends[1], _random_colour(rng), thickness, cv2.LINE_AA)


def _random_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(256 * rng.random()) for _ in range(3))
    return red, green, blue


def _draw_figure(image: Image, look: Look, rng: np.random.Generator) -> None:
    """Draws the figure over `image`, in place, within its central square."""
    height, width = image.shape[:2]
    side = min(height, width)
    radius = _between(RADIUS, rng) * side
    x, y = width / 2 + _around(OFF_CENTRE * side, rng), height / 2 + _around(OFF_CENTRE * side, rng)
    squeezed = radius * _between((SQUEEZE, 1.0), rng)
    mask = np.zeros((height, width), np.uint8)
    matrix = _turn(radius, squeezed, _around(TURN, rng))
    cv2.fillPoly(mask, _place(OUTLINES[look.shape], matrix, x, y), (255,), cv2.LINE_AA, _FRACTION_BITS)
    left, top, box_width, box_height = cv2.boundingRect(mask)
    box = np.s_[top : top + box_height, left : left + box_width]
    xs = (np.arange(left, left + box_width) - x)[None, :] / radius
    ys = (np.arange(top, top + box_height) - y)[:, None] / radius
    _blend(image[box], mask[box], _weave(look.texture, xs, ys, rng), _tones(look.colour, rng))


def _blend(part: Image, mask: Image, shade: Field, tones: Field) -> None:
    """Paints over `part`, where `mask` says, from the first tone (shade 0) to the second (shade 1)."""
    opaque = (mask / 255.0)[..., None]
    paint = tones[0] + (tones[1] - tones[0]) * shade[..., None]
    part[...] = np.rint(part + (paint - part) * opaque).astype(np.uint8)


def _tones(colour: Colour, rng: np.random.Generator) -> Field:
    """The two tones of a figure: (2, 3), RGB, 0-255; one darker or paler than the other, in either order."""
    hue = HUES[colour] + _around(HUE_JITTER, rng)
    saturation, value = _between((0.55, 1.0), rng), _between((0.6, 1.0), rng)
    main = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    contrast = _between(CONTRAST, rng)
    other_end = 0.0 if rng.random() < 0.5 else 1.0
    other = [channel + contrast * (other_end - channel) for channel in main]
    tones = np.array([main, other] if rng.random() < 0.5 else [other, main])
    return tones * 255.0


def _weave(texture: Texture, xs: Field, ys: Field, rng: np.random.Generator) -> Field:
    """The shade of a texture, 0 to 1: (rows, columns), for xs (1, columns) and ys (rows, 1) in radii."""
    angle, period = _around(math.pi, rng), _between(PERIOD, rng)
    cos, sin = math.cos(angle) / period, math.sin(angle) / period
    u, v = xs * cos + ys * sin + rng.random(), ys * cos - xs * sin + rng.random()
    if texture == "plain":
        return np.zeros(u.shape)
    if texture == "striped":
        return _wave(u)
    if texture == "checked":
        # The product of two waves in -1..1 changes sign from square to square.
        return ((2 * _wave(u / 1.3) - 1) * (2 * _wave(v / 1.3) - 1) + 1) / 2
    if texture == "dotted":
        return _sharpen(0.11 - ((u / 1.3 % 1.0 - 0.5) ** 2 + (v / 1.3 % 1.0 - 0.5) ** 2), 8.0)
    if texture == "banded":
        return _wave(np.sqrt(xs * xs + ys * ys) / period)
    return _sharpen(xs * cos + ys * sin, 3.0)


def _wave(u: Field) -> Field:
    """A soft square wave of period 1, from 0 to 1."""
    return _sharpen(0.25 - np.abs(u % 1.0 - 0.5), 5.0)


def _sharpen(level: Field, slope: float) -> Field:
    return np.clip(level * slope + 0.5, 0.0, 1.0)


def _expose(image: Image, rng: np.random.Generator) -> Image:
    """`image` under uneven light, with noise."""
    height, width = image.shape[:2]
    low, high = LIGHT
    (a, b), (c, d) = low + (high - low) * rng.random((2, 2))
    down = (np.arange(height) / height)[:, None]
    across = (np.arange(width) / width)[None, :]
    light = a + (b - a) * across + (c - a) * down + (a - b - c + d) * across * down
    noise = rng.integers(0, 256, (height, width), dtype=np.uint8) * (2 * NOISE / 255) - NOISE
    lit: Field = np.clip(np.rint(image * light[..., None] + noise[..., None]), 0, 255)
    return lit.astype(np.uint8)
