"""How all figures look and are written: the same bytes on every machine that has the pinned versions.

Each figure is drawn twice: `wide` for a page, `narrow` for a telephone. Letters become outlines, so that nothing
depends on the fonts a reader has.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

Width = Literal["wide", "narrow"]
Draw = Callable[[Width], Figure]

WIDTHS_PT: dict[Width, float] = {"wide": 825, "narrow": 270}  # 1,100 and 360 pixels in a browser
PNG_DPI = 144

# Okabe and Ito's colours, which people who see few colours can tell apart; all dark enough for text on white.
BLUE, ORANGE, GREY, LIGHT, INK = "#0072B2", "#C04A00", "#5F6368", "#D9DCE0", "#1A1A1A"

_STYLE: Any = {
    "font.family": ["DejaVu Sans"],  # it comes with Matplotlib
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "alexnet",  # names inside the file, else drawn at random
    "svg.image_inline": True,
    "path.simplify": False,
}


def render(draw: Draw, name: str) -> dict[str, bytes]:
    """The files of a figure: NAME.svg, NAME.png and NAME_narrow.svg, by name; equal figures give equal bytes."""
    with _style():
        wide, narrow = draw("wide"), draw("narrow")
        files = {f"{name}.svg": _svg(wide), f"{name}_narrow.svg": _svg(narrow)}
        for axes in wide.axes:
            for image in axes.images:
                image.set_interpolation("antialiased")
        files[f"{name}.png"] = _png(wide)
    return files


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Matplotlib as it comes, whatever the user's own settings, but for ours."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def canvas(width: Width, height_pt: float) -> tuple[Figure, Axes]:
    """An empty figure with one axes all over it, whose coordinates are points from its upper left corner."""
    across = WIDTHS_PT[width]
    figure = Figure(figsize=(across / 72, height_pt / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, across)
    axes.set_ylim(height_pt, 0)
    return figure, axes


def plot_area(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes with scales at a place in points from the figure's upper left corner."""
    across, down = figure.get_figwidth() * 72, figure.get_figheight() * 72
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def draw_absent(number: int, reason: str) -> Draw:
    """What stands in the place of a figure that was not run: its reason."""

    def draw(width: Width) -> Figure:
        lines = wrap(f"Figure {number} was not run: {reason}", 100 if width == "wide" else 42)
        figure, axes = canvas(width, 30 + 14 * len(lines))
        for row, line in enumerate(lines):
            axes.text(12, 24 + 14 * row, line)
        return figure

    return draw


def wrap(text: str, most: int) -> list[str]:
    """A text in lines of at most `most` characters, broken between words."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def shorten(text: str, room_pt: float, size: float, *, is_bold: bool = False) -> str:
    """As much of a text, with … in place of the rest, as there is room for in letters of `size` points."""
    font = FontProperties(family="DejaVu Sans", weight="bold" if is_bold else "normal")
    kept, shown = text, text
    while kept and TextPath((0, 0), shown, size=size, prop=font).get_extents().width > room_pt:
        kept = kept[:-1].rstrip()
        shown = f"{kept}…"
    return shown


def _svg(figure: Figure) -> bytes:
    FigureCanvasSVG(figure)
    output = io.StringIO()
    figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    return output.getvalue().encode()


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    output = io.BytesIO()
    figure.savefig(output, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return output.getvalue()
