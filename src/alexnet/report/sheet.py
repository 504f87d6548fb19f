"""A sheet of pictures with a caption under each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 6
SIDE, GAP, LINE, FONT_PX = 200, 12, 17, 13
LINES = 5  # of a caption
PAPER, INK, FRAME, TITLE = (255, 255, 255), (20, 20, 20), (205, 205, 205), (150, 20, 20)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Picture:
    """A picture of the sheet. image: (H, W, 3) uint8 as `shrink` returns it, or None. title, caption: put under it."""

    image: npt.NDArray[np.uint8] | None
    title: str
    caption: Sequence[str]


def shrink(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The image, of any size, as it is shown: whole, no side longer than SIDE; small ones are enlarged."""
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(image).resize(size, way))


def draw_sheet(title: str, pictures: Sequence[Picture]) -> Image.Image:
    """The sheet, RGB."""
    columns = min(COLUMNS, max(1, len(pictures)))
    cell_width, cell_height = SIDE + GAP, SIDE + GAP + LINE * (1 + LINES)
    num_rows = -(-len(pictures) // columns)
    sheet = Image.new(
        "RGB", (max(columns * cell_width, 3 * SIDE) + GAP, num_rows * cell_height + GAP + 2 * LINE), PAPER
    )
    canvas, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    canvas.text((GAP, GAP), title, INK, ImageFont.load_default(FONT_PX + 3))
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        _draw_picture(
            sheet, canvas, font, picture, GAP + column * cell_width, GAP + 2 * LINE + row * cell_height
        )
    return sheet


def _draw_picture(
    sheet: Image.Image, canvas: ImageDraw.ImageDraw, font: Font, picture: Picture, left: int, top: int
) -> None:
    canvas.rectangle((left - 1, top - 1, left + SIDE, top + SIDE), outline=FRAME)
    if picture.image is None:
        canvas.line((left, top, left + SIDE, top + SIDE), FRAME)
        canvas.line((left, top + SIDE, left + SIDE, top), FRAME)
    else:
        height, width = picture.image.shape[:2]
        sheet.paste(Image.fromarray(picture.image), (left + (SIDE - width) // 2, top + (SIDE - height) // 2))
    lines = [line for text in picture.caption for line in _break(text, font)]
    for number, line in enumerate([*_break(picture.title, font)[:1], *lines][: 1 + LINES]):
        canvas.text((left, top + SIDE + 2 + LINE * number), line, TITLE if number == 0 else INK, font)


def _break(text: str, font: Font) -> list[str]:
    """The text in lines that fit under a picture."""
    lines, line = [], ""
    for character in text:
        if font.getlength(line + character) > SIDE:
            lines.append(line)
            line = ""
        line += character
    return [*lines, line]


def merge_titles(chosen: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], str]:
    """The titles of each image (split, key), in the order of their first: one picture for all that is odd about it."""
    titles: dict[tuple[str, str], list[str]] = {}
    for why, split, key in chosen:
        titles.setdefault((split, key), []).append(why)
    return {place: ", ".join(dict.fromkeys(whys)) for place, whys in titles.items()}
