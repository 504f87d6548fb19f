"""Figure 2: the layers of a net as blocks, a row (or, narrow, a column) for each of its columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Polygon

from alexnet.core.layers import Layer
from alexnet.report.figures import BLUE, GREY, INK, ORANGE, WIDTHS_PT, Draw, Width, canvas, wrap

FACES = {BLUE: ("#CFE3F1", "#B5D3E8", "#E6F0F8"), ORANGE: ("#F6D9C6", "#EFC4A7", "#FBEDE3"),
         GREY: ("#DFE1E5", "#CDD0D6", "#EEEFF2")}  # fmt: skip
SLANT = 0.28  # of a block's side, how far its depth leans


@dataclass(frozen=True)
class ArchitectureData:
    """The layers of a net, the pixels along a side of what it takes, and size and stride of its pooling."""

    layers: Sequence[Layer]
    input_side: int
    pool: tuple[int, int]
    about: str


@dataclass(frozen=True)
class Block:
    """One column's part of a layer. place: of the layer, from 1; 0 is the image. side, depth: in points."""

    place: int
    column: int
    side: float
    depth: float
    is_flat: bool


def find_blocks(data: ArchitectureData, most_side: float, most_depth: float) -> list[list[Block]]:
    """Of the image and of each layer its blocks, one for each column that holds units of it, sizes by square roots."""
    sides = [data.input_side, *(layer.side for layer in data.layers)]
    maps = [layer.outputs // layer.columns for layer in data.layers if layer.is_conv]
    units = [layer.outputs for layer in data.layers if not layer.is_conv]
    found = [[Block(0, 0, most_side, 3 / max(maps) * most_depth, is_flat=False)]]
    for place, layer in enumerate(data.layers, start=1):
        shares = [(column, layer.rows(column)) for column in range(layer.columns)]
        blocks = []
        for column, rows in shares:
            held = rows.stop - rows.start
            if not held:
                continue
            if layer.is_conv:
                side = most_side * math.sqrt(layer.side / max(sides))
                blocks.append(
                    Block(place, column, side, most_depth * math.sqrt(held / max(maps)), is_flat=False)
                )
            else:
                blocks.append(Block(place, column, most_side * math.sqrt(held / max(units)), 7, is_flat=True))
        found.append(blocks)
    return found


def links(layers: Sequence[Layer], place: int) -> list[tuple[int, int]]:
    """Which column's part of the layer before (column, column) each column's part of layer `place` (from 1) sees."""
    layer = layers[place - 1]
    here = [column for column in range(layer.columns) if layer.rows(column).stop > layer.rows(column).start]
    if place == 1:
        return [(0, column) for column in here]
    if layer.groups == 1:
        return [(before, column) for column in here for before in range(layer.columns)]
    return [(column, column) for column in here]


def words_of(data: ArchitectureData, place: int) -> list[str]:
    """What is written of a layer: name, maps or units of each column, kernels, size, and what follows."""
    if place == 0:
        return ["image", "3 channels", f"{data.input_side}×{data.input_side}"]
    layer = data.layers[place - 1]
    held = [
        rows.stop - rows.start for rows in map(layer.rows, range(layer.columns)) if rows.stop > rows.start
    ]
    number = " + ".join(f"{count:,}" for count in held)
    size, stride = data.pool
    after = [*(["ReLU"] if layer.relu and not layer.norm_first else []), *(["LRN"] if layer.lrn else []),
             *(["spatial norm"] if layer.spatial_norm else []), *([f"pool {size}/{stride}"] if layer.pool else []),
             *(["ReLU"] if layer.norm_first else []), *([f"dropout {layer.dropout:g}"] if layer.dropout else []),
             *(["softmax"] if layer.is_last else [])]  # fmt: skip
    if not layer.is_conv:
        return [layer.name, f"{number} units", ", ".join(after)]
    pads = f"{layer.pad}" if layer.pad == layer.pad_end else f"{layer.pad}+{layer.pad_end}"
    pooled = f" → {layer.out_side}×{layer.out_side}" if layer.pool else ""
    kernel = f"{layer.kernel}×{layer.kernel}×{layer.inputs // layer.groups}"
    return [layer.name, f"{number} maps", f"kernel {kernel}", f"stride {layer.stride}, pad {pads}",
            f"{layer.side}×{layer.side}{pooled}", ", ".join(after)]  # fmt: skip


def draw_architecture(data: ArchitectureData) -> Draw:
    """Blocks from the image to the classes; an arrow from each part of a layer to each part that sees it."""

    def draw(width: Width) -> Figure:
        return _draw_wide(data) if width == "wide" else _draw_narrow(data)

    return draw


def _draw_wide(data: ArchitectureData) -> Figure:
    across, columns = WIDTHS_PT["wide"], max(layer.columns for layer in data.layers)
    step = (across - 16) / (len(data.layers) + 1)
    row = 104.0
    blocks = find_blocks(data, 62, step - 42)
    texts = [
        [line for words in words_of(data, place)[1:] if words for line in wrap(words, int(step / 4.1))]
        for place in range(len(data.layers) + 1)
    ]
    figure, axes = canvas("wide", 24 + columns * row + 26 + 11 * max(map(len, texts)))
    axes.text(8, 14, data.about, color=GREY)
    middles = {}
    for layer in blocks:
        for block in layer:
            y = 24 + columns * row / 2 if block.place == 0 else 24 + row * (block.column + 0.5)
            middles[block.place, block.column] = (8 + step * (block.place + 0.5), y)
    _draw(axes, data, blocks, middles, columns, is_across=True)
    for place, lines in enumerate(texts):
        x, y = 8 + step * (place + 0.5), 24 + columns * row + 14
        axes.text(x, y, words_of(data, place)[0], ha="center", fontweight="bold")
        for number, line in enumerate(lines):
            axes.text(x, y + 13 + 11 * number, line, ha="center", fontsize=7.5)
    return figure


def _draw_narrow(data: ArchitectureData) -> Figure:
    columns = max(layer.columns for layer in data.layers)
    drawn, step = 62.0 * columns + 4, 80.0
    lines = wrap(data.about, 46)
    top = 10 + 13 * len(lines)
    blocks = find_blocks(data, 44, 30)
    figure, axes = canvas("narrow", top + step * (len(data.layers) + 1) + 6)
    for number, line in enumerate(lines):
        axes.text(8, 14 + 13 * number, line, color=GREY)
    middles = {}
    for layer in blocks:
        for block in layer:
            x = 6 + drawn / 2 if block.place == 0 else 6 + 62 * (block.column + 0.5)
            middles[block.place, block.column] = (x, top + step * (block.place + 0.5))
    _draw(axes, data, blocks, middles, columns, is_across=False)
    for place in range(len(data.layers) + 1):
        name, *words = words_of(data, place)
        texts = [line for part in words if part for line in wrap(part, 28)]
        x, y = drawn + 14, top + step * (place + 0.5) - 5.5 * len(texts) + 3
        axes.text(x, y, name, fontweight="bold")
        for number, line in enumerate(texts):
            axes.text(x, y + 11.5 * (number + 1), line, fontsize=8)
    return figure


def _draw(
    axes: Axes, data: ArchitectureData, blocks: Sequence[Sequence[Block]],
    middles: dict[tuple[int, int], tuple[float, float]], columns: int, *, is_across: bool,
) -> None:  # fmt: skip
    known = {(block.place, block.column): block for layer in blocks for block in layer}
    for place in range(1, len(data.layers) + 1):
        for before, here in links(data.layers, place):
            start, end = known[place - 1, before], known[place, here]
            begin = _edge(middles[place - 1, before], start, is_across=is_across, is_end=True)
            finish = _edge(middles[place, here], end, is_across=is_across, is_end=False)
            is_crossing = place > 1 and before != here
            arrow = FancyArrowPatch(
                begin, finish, arrowstyle="-|>", mutation_scale=7, shrinkA=0, shrinkB=0, zorder=3, lw=1.0,
                color=GREY if is_crossing else INK, ls=(0, (3, 2)) if is_crossing else "-",
            )  # fmt: skip
            axes.add_patch(arrow)
    for layer in blocks:
        for block in layer:
            colour = GREY if block.place == 0 or columns == 1 else (BLUE, ORANGE)[block.column % 2]
            _draw_block(axes, middles[block.place, block.column], block, colour, is_across=is_across)


def _edge(middle: tuple[float, float], block: Block, *, is_across: bool, is_end: bool) -> tuple[float, float]:
    """Where an arrow leaves a block, or comes to it."""
    lean = 0.0 if block.is_flat else SLANT * block.side
    x, y = middle
    if is_across:
        return (x + block.depth / 2 + lean / 2, y) if is_end else (x - block.depth / 2 - lean / 2, y)
    return (x, y + block.depth / 2 + lean / 2) if is_end else (x, y - block.depth / 2 - lean / 2)


def _draw_block(
    axes: Axes, middle: tuple[float, float], block: Block, colour: str, *, is_across: bool
) -> None:
    """A cuboid seen from the side: depth along the way of the signals, a slanted face towards the next layer."""
    x, y = middle
    lean = 0.0 if block.is_flat else SLANT * block.side
    width, height = (block.depth, block.side - lean) if is_across else (block.side - lean, block.depth)
    left, top = x - (width + lean) / 2, y - (height + lean) / 2 + lean
    right, bottom = left + width, top + height
    front, face, above = FACES[colour]
    faces = [(front, [(left, top), (right, top), (right, bottom), (left, bottom)])]
    if lean:
        faces += [
            (above, [(left, top), (right, top), (right + lean, top - lean), (left + lean, top - lean)]),
            (
                face,
                [(right, top), (right, bottom), (right + lean, bottom - lean), (right + lean, top - lean)],
            ),
        ]
    for shade, corners in faces:
        axes.add_patch(
            Polygon(corners, facecolor=shade, edgecolor=colour, lw=0.8, joinstyle="round", zorder=2)
        )
