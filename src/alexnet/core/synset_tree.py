"""The class tree of the embedded data set, and which synsets each of the four data sets holds.

As in ImageNet: leaves are fine-grained (siblings share a shape and differ by texture or colour), the two
contests share about two thirds of their classes, the Fall releases hold inner nodes too, and a synset's place
in a development kit says nothing of its place among the sorted wnids. The wnids are invented; WordNet has
none in n9.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

from alexnet.core.drawing import COLOURS, TEXTURES, Colour, Look, Shape, Texture


@dataclass(frozen=True)
class Synset:
    """A node of the tree. Its images show one of `looks`; a node that never has images has none."""

    wnid: str
    words: str
    gloss: str
    parent: str | None  # wnid
    looks: tuple[Look, ...]


_ROOT: Final = "n90001740"
# wnid, words, parent's wnid
_GROUPS: Final = (
    ("n93100512", "round figure", _ROOT),
    ("n90846203", "figure with corners", _ROOT),
    ("n97420915", "figure with arms", _ROOT),
)
_FAMILIES: Final[tuple[tuple[str, Shape, str], ...]] = (
    ("n94217608", "disc", "n93100512"),
    ("n90533871", "ring", "n93100512"),
    ("n98160244", "crescent", "n93100512"),
    ("n95902317", "heart", "n93100512"),
    ("n91375046", "square", "n90846203"),
    ("n96681190", "triangle", "n90846203"),
    ("n92749563", "bar", "n90846203"),
    ("n99034128", "star", "n97420915"),
    ("n92018855", "cross", "n97420915"),
)
# wnid, texture, colour, parent's wnid
_LEAVES: Final[tuple[tuple[str, Texture, Colour, str], ...]] = (
    ("n95118042", "striped", "red", "n94217608"),
    ("n90274416", "dotted", "red", "n94217608"),
    ("n98830957", "dotted", "blue", "n94217608"),
    ("n93645281", "plain", "yellow", "n90533871"),
    ("n97012639", "checked", "yellow", "n90533871"),
    ("n91590374", "checked", "green", "n90533871"),
    ("n92286710", "plain", "blue", "n98160244"),
    ("n96403925", "striped", "blue", "n98160244"),
    ("n90961158", "plain", "green", "n98160244"),
    ("n97758203", "banded", "red", "n95902317"),
    ("n92904467", "halved", "red", "n95902317"),
    ("n94566013", "halved", "green", "n95902317"),
    ("n90387529", "striped", "green", "n91375046"),
    ("n99215840", "checked", "green", "n91375046"),
    ("n93061792", "checked", "blue", "n91375046"),
    ("n95473306", "dotted", "yellow", "n96681190"),
    ("n91832671", "banded", "yellow", "n96681190"),
    ("n98394125", "dotted", "green", "n96681190"),
    ("n96127784", "plain", "red", "n92749563"),
    ("n90710938", "checked", "red", "n92749563"),
    ("n94890251", "checked", "yellow", "n92749563"),
    ("n91104697", "striped", "yellow", "n99034128"),
    ("n97289463", "halved", "yellow", "n99034128"),
    ("n93377810", "striped", "blue", "n99034128"),
    ("n98641532", "plain", "green", "n92018855"),
    ("n92450186", "banded", "green", "n92018855"),
    ("n95836079", "banded", "blue", "n92018855"),
)

# Classes as (shape, places in the family above). Those of a contest stand in the order of its devkit.
_Classes = tuple[tuple[Shape, tuple[int, ...]], ...]
_ILSVRC2010: Final[_Classes] = (
    ("heart", (0, 2)),
    ("cross", (0, 1, 2)),
    ("square", (1, 2)),
    ("bar", (2, 0, 1)),
    ("disc", (2, 1)),
    ("star", (1, 2)),
    ("triangle", (0, 1)),
    ("ring", (2, 1)),
    ("crescent", (0, 1)),
)
_ILSVRC2012: Final[_Classes] = (
    ("star", (0, 1)),
    ("crescent", (1, 0, 2)),
    ("triangle", (2, 1, 0)),
    ("disc", (0, 2, 1)),
    ("heart", (1, 0, 2)),
    ("ring", (0, 2, 1)),
    ("square", (2, 1, 0)),
)
_ONLY_2010: Final[_Classes] = (("star", (2,)), ("cross", (0, 1, 2)), ("bar", (0, 1, 2)))
_ONLY_2012_IN_2009: Final[_Classes] = (("triangle", (2,)), ("crescent", (2,)))


def _family_of(shape: Shape) -> str:
    return next(wnid for wnid, family, _ in _FAMILIES if family == shape)


def _family_wnids(*shapes: Shape) -> tuple[str, ...]:
    return tuple(_family_of(shape) for shape in shapes)


def _leaf_wnids(classes: _Classes) -> tuple[str, ...]:
    families = {shape: [row[0] for row in _LEAVES if row[3] == _family_of(shape)] for shape, _ in classes}
    return tuple(families[shape][place] for shape, places in classes for place in places)


def _make_leaf(wnid: str, texture: Texture, colour: Colour, parent: str) -> Synset:
    shape = next(family for family_wnid, family, _ in _FAMILIES if family_wnid == parent)
    words = f"{texture} {colour} {shape}, {colour} {texture} {shape}"
    gloss = f"a {colour} {shape} that is {texture}"
    return Synset(wnid, words, gloss, parent, (Look(shape, texture, colour),))


def _make_family(wnid: str, shape: Shape, parent: str) -> Synset:
    taken = {(texture, colour) for _, texture, colour, family in _LEAVES if family == wnid}
    # Flat labels, as in the Fall releases: an image filed under a leaf is not filed under its family too.
    looks = tuple(Look(shape, *pair) for pair in product(TEXTURES, COLOURS) if pair not in taken)
    return Synset(wnid, shape, f"any {shape}", parent, looks)


def _make_tree() -> dict[str, Synset]:
    synsets = [Synset(_ROOT, "figure", "whatever stands before clutter", None, ())]
    synsets += [Synset(wnid, words, f"a {words}", parent, ()) for wnid, words, parent in _GROUPS]
    synsets += [_make_family(*row) for row in _FAMILIES]
    synsets += [_make_leaf(*row) for row in _LEAVES]
    return {synset.wnid: synset for synset in synsets}


SYNSETS: Final = _make_tree()
_HELD: Final[dict[str, tuple[str, ...]]] = {
    "ilsvrc2010": _leaf_wnids(_ILSVRC2010),
    "ilsvrc2012": _leaf_wnids(_ILSVRC2012),
    "fall2011": (*_leaf_wnids(_ILSVRC2012 + _ONLY_2010), *_family_wnids("disc", "square", "star")),
    "fall2009": (*_leaf_wnids(_ILSVRC2010 + _ONLY_2012_IN_2009), *_family_wnids("disc", "square")),
}
DATASETS: Final = tuple(_HELD)


def list_classes(dataset: str) -> tuple[Synset, ...]:
    """The synsets that have images in `dataset`; for a contest in the order of its development kit."""
    return tuple(SYNSETS[wnid] for wnid in _HELD[dataset])


def list_ancestors(synset: Synset) -> tuple[Synset, ...]:
    """The nodes above `synset`, the nearest first and the root last."""
    above: tuple[Synset, ...] = ()
    while synset.parent is not None:
        synset = SYNSETS[synset.parent]
        above += (synset,)
    return above


def list_devkit(dataset: str) -> tuple[Synset, ...]:
    """The rows of a development kit: the classes, then the root, then all other nodes above a class."""
    classes = list_classes(dataset)
    above = {node.wnid: node for leaf in classes for node in reversed(list_ancestors(leaf))}
    return (*classes, *above.values())


def find_cost(first: Synset, second: Synset) -> int:
    """The cost of taking one leaf for the other: the height of their lowest common ancestor, 0 if the same."""
    above_second = (second, *list_ancestors(second))
    return next(height for height, node in enumerate((first, *list_ancestors(first))) if node in above_second)
