"""The figures of the report page: captions, and the numbers of figures.json as words for who does not see them."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from alexnet.report import wording

NAMES = ("figure1", "figure2", "figure3", "figure4")
TITLES = {
    "figure1": "Figure 1: ReLU and tanh",
    "figure2": "Figure 2: the network",
    "figure3": "Figure 3: kernels of conv1",
    "figure4": "Figure 4: labels and nearest images",
}
ACTIVATIONS = {"relu": "ReLU", "tanh": "tanh"}


@dataclass(frozen=True)
class Picture:
    """A figure. caption: HTML. alt: what it shows, in words. wide, narrow: SVGs as addresses that hold them."""

    id: str
    title: str
    caption: Markup
    alt: str
    wide: str
    narrow: str


def make_picture(name: str, numbers: Mapping[str, Any], caption: str, wide: bytes, narrow: bytes) -> Picture:
    """A figure from its files. numbers: all of figures.json.

    Raises KeyError, TypeError, AttributeError or ValueError if these are damaged.
    """
    return Picture(
        name, TITLES[name], to_html(caption), describe(name, numbers[name]), embed(wide), embed(narrow)
    )


def embed(svg: bytes) -> str:
    """An SVG as an address that holds it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def to_html(caption: str) -> Markup:
    """A caption, which is plain paragraphs with **bold** parts."""
    paragraphs = [" ".join(text.split()) for text in re.split(r"\n\s*\n", caption) if text.strip()]
    bold = [re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text))) for text in paragraphs]
    return Markup("").join(Markup(f"<p>{text}</p>") for text in bold)  # noqa: S704 (escaped above)


def describe(name: str, numbers: Mapping[str, Any]) -> str:
    """A figure in words, or why there is none."""
    number = name.removeprefix("figure")
    if "not_run" in numbers:
        return f"Figure {number} was not run: {numbers['not_run']}"
    return DESCRIBE[name](numbers)


def _describe_epochs(numbers: Mapping[str, Any]) -> str:
    parts = [
        f"{ACTIVATIONS[name]} at a rate of {numbers['rates'][name]:g} after {_epochs(numbers['epochs'][name])} epochs"
        for name in ACTIVATIONS
    ]
    ratio = numbers["ratio"]
    end = "one of the nets did not get there" if ratio is None else f"tanh takes {ratio:.1f} times as many"
    return (
        f"Training error against epoch on {numbers['data']}, down to {wording.percent(numbers['target'], 0)}: "
        f"{', '.join(parts)}; {end}."
    )


def _epochs(epochs: Sequence[float | None]) -> str:
    return wording.listing(
        ["not in as many as there were" if number is None else f"{number:.1f}" for number in epochs]
    )


def _describe_network(numbers: Mapping[str, Any]) -> str:
    side = numbers["input_side"]
    return (
        f"The network of {numbers['member']}: input {side} × {side} × 3, {numbers['parameters']:,} parameters, "
        f"{numbers['neurons']:,} neurons, {numbers['multiply_adds']:,} multiply-adds."
    )


def _describe_kernels(numbers: Mapping[str, Any]) -> str:
    nets = "; ".join(
        f"{name} {wording.listing([f'{mean:.2f}' for mean in net['means']])}"
        for name, net in numbers["nets"].items()
    )
    compared = numbers["nets_compared"]
    found = (
        f"In {numbers['nets_that_differ']} of {compared} nets one column is colour-agnostic and the other is not."
        if compared
        else "With one column there is nothing to compare."
    )
    return f"Kernels of conv1 of {numbers['member']}. Mean colour selectivity of each column: {nets}. {found}"


def _describe_images(numbers: Mapping[str, Any]) -> str:
    labelled, same, nearest = numbers["labelled"], numbers["of_same_class"], numbers["nearest"]
    first = sum(shown["best"][0] == shown["label"] for shown in labelled)
    found = sum(shown["label"] in shown["best"] for shown in labelled)
    return (
        f"{wording.count(len(labelled), 'image')} of {numbers['data']} {numbers['split']} with the five best labels of "
        f"{numbers['member']}: the true one is the first for {first} and among the five for {found}. "
        f"{wording.count(len(numbers['searched']), 'image')} more, each with the six nearest of "
        f"{numbers['num_train_images']:,} training images: of {nearest}, {same['features']} are of the same class by "
        f"features and {same['pixels']} by pixels."
    )


DESCRIBE = {
    "figure1": _describe_epochs,
    "figure2": _describe_network,
    "figure3": _describe_kernels,
    "figure4": _describe_images,
}
