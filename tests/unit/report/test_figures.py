"""What figures show, seen before it is drawn, and that equal figures are equal bytes."""

from xml.etree import ElementTree

import cv2
import matplotlib as mpl
import numpy as np
import pytest

from alexnet.core.layers import input_side, plan_layers
from alexnet.core.selectivity import compare_columns
from alexnet.report import figure_images
from alexnet.report.figure_architecture import (
    ArchitectureData,
    draw_architecture,
    find_blocks,
    links,
    words_of,
)
from alexnet.report.figure_epochs import EpochsData, draw_epochs, geometric_mean
from alexnet.report.figure_images import ImagesData, Labelled, Searched, draw_images
from alexnet.report.figure_kernels import KernelsData, draw_kernels
from alexnet.report.figures import WIDTHS_PT, draw_absent, render, shorten, wrap
from tests.unit.core.made_networks import VARIANTS, network, protocol


def architecture(variant="two_columns", classes=1000, crop=224, **changes):
    params, switches = network(variant, **changes), protocol()
    layers = plan_layers(params, switches, classes, crop)
    return ArchitectureData(
        layers, input_side(params, switches, crop), (params.pool.size, params.pool.stride), "x"
    )


def picture(seed, side=32):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def made_images():
    best = [
        ("cat", 0.5),
        ("a dog with a very long name that nobody can read", 0.25),
        ("car", 0.1),
        ("cup", 0.1),
    ]
    found = [(picture(n), n % 2 == 0) for n in range(6)]
    return ImagesData(
        [Labelled(picture(9), "car", best)] * 2, [Searched(picture(8), "cup", found, found[::-1])]
    )


def made_kernels():
    kernels = np.random.default_rng(0).normal(size=(16, 3, 5, 5))
    return KernelsData(kernels, 2, [("cnn1", compare_columns(kernels, 2))], "conv1")


EPOCHS = EpochsData(
    {"relu": 0.1, "tanh": 0.2}, {"relu": [(0.8, 0.2), (0.9, 0.2)], "tanh": [(0.8, 0.5, 0.2)] * 2},
    {"relu": [1.9, 1.9], "tanh": [2.8, 2.8]}, 0.25, 1.5, "made",
)  # fmt: skip
DRAWN = {
    "epochs": lambda: draw_epochs(EPOCHS),
    "architecture": lambda: draw_architecture(architecture()),
    "kernels": lambda: draw_kernels(made_kernels()),
    "images": lambda: draw_images(made_images()),
    "absent": lambda: draw_absent(
        1, "ilsvrc2012 was left out, no source was given (--data ilsvrc2012=PATH)."
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_equal_figures_are_equal_bytes_whatever_the_users_settings(name):
    first = render(DRAWN[name](), name)
    assert list(first) == [f"{name}.svg", f"{name}_narrow.svg", f"{name}.png"]
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": "mine", "axes.grid": True, "text.color": "red"}):
        assert render(DRAWN[name](), name) == first
        assert mpl.rcParams["font.size"] == 20  # left as they were
    for file, content in first.items():
        assert b"Matplotlib" not in content and b"<dc:date>" not in content and b"tIME" not in content
        if file.endswith(".svg"):
            root = ElementTree.fromstring(content)  # noqa: S314 (our own)
            width = WIDTHS_PT["narrow" if "narrow" in file else "wide"]
            assert float(root.attrib["width"].removesuffix("pt")) == pytest.approx(width)
            assert not list(root.iter("{http://www.w3.org/2000/svg}text"))  # outlines: no fonts needed
    pixels = cv2.imdecode(np.frombuffer(first[f"{name}.png"], np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape[1] == 2 * WIDTHS_PT["wide"] and (pixels < 128).any()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_every_variant_can_be_drawn_and_its_blocks_do_not_meet(variant, width):
    data = architecture(variant)
    assert draw_architecture(data)(width).get_figwidth() * 72 == pytest.approx(WIDTHS_PT[width])
    blocks = find_blocks(data, 60, 50)
    assert len(blocks) == len(data.layers) + 1
    for block in (one for layer in blocks for one in layer):
        assert 0 < block.side <= 60 and 0 < block.depth <= 50


def test_blocks_and_arrows_follow_the_columns():
    layers = architecture().layers
    assert [len(blocks) for blocks in find_blocks(architecture(), 60, 50)] == [1, 2, 2, 2, 2, 2, 2, 2, 1]
    both, across = [(0, 0), (1, 1)], [(0, 0), (1, 0), (0, 1), (1, 1)]
    found = [links(layers, place) for place in range(1, len(layers) + 1)]
    assert found == [[(0, 0), (0, 1)], both, across, both, both, across, across, [(0, 0), (1, 0)]]
    assert {tuple(links(architecture("half").layers, place)) for place in range(1, 9)} == {((0, 0),)}
    no_crossing = architecture("no_crossing").layers
    assert [links(no_crossing, place) for place in (3, 6, 7)] == [both] * 3


def test_sizes_of_blocks_go_by_square_roots():
    image, conv1, conv2, *_ = find_blocks(architecture(), 60, 50)
    assert image[0].side == 60
    assert conv1[0].side == pytest.approx(60 * (55 / 224) ** 0.5)
    assert conv2[1].depth / conv1[1].depth == pytest.approx((128 / 48) ** 0.5)


def test_words_say_what_the_layers_are():
    data = architecture()
    assert words_of(data, 0) == ["image", "3 channels", "224×224"]
    assert words_of(data, 1) == ["conv1", "48 + 48 maps", "kernel 11×11×3", "stride 4, pad 0+3", "55×55 → 27×27",
                                 "ReLU, LRN, pool 3/2"]  # fmt: skip
    assert words_of(data, 2)[2] == "kernel 5×5×48"  # of its own column's maps
    assert words_of(data, 3)[2:] == ["kernel 3×3×256", "stride 1, pad 1", "13×13", "ReLU"]
    assert words_of(data, 6) == ["fc6", "2,048 + 2,048 units", "ReLU, dropout 0.5"]
    assert words_of(data, 8) == ["fc8", "1,000 units", "softmax"]
    assert words_of(architecture("half"), 5)[1] == "256 maps"


def test_ratios_of_geometric_means_are_means_of_ratios():
    assert geometric_mean([2, 8]) == pytest.approx(4)
    assert geometric_mean([6, 30]) / geometric_mean([3, 5]) == pytest.approx(geometric_mean([2, 6]))


def test_a_net_that_does_not_get_there_has_no_ratio_drawn():
    data = EpochsData(
        EPOCHS.rates, EPOCHS.errors, {"relu": [1.9, 1.9], "tanh": [2.8, None]}, 0.25, None, "made"
    )
    texts = [text.get_text() for axes in draw_epochs(data)("wide").axes for text in axes.texts]
    assert not any("times" in text for text in texts)
    assert "1.5 times" in [
        text.get_text() for axes in draw_epochs(EPOCHS)("wide").axes for text in axes.texts
    ]


def test_lines_of_figure_1_are_the_errors_in_percent():
    plot = draw_epochs(EPOCHS)("wide").axes[1]
    lines = [(line.get_linestyle(), line.get_ydata()) for line in plot.lines if len(line.get_ydata()) > 1]
    assert [style for style, _ in lines[:4]] == ["-", "-", "--", "--"]
    np.testing.assert_allclose(lines[1][1], [90, 20])
    np.testing.assert_allclose(lines[2][1], [80, 50, 20])


def test_the_true_label_is_marked_and_long_ones_are_cut():
    texts = [text.get_text() for text in draw_images(made_images())("wide").axes[0].texts]
    assert texts.count("✓ car") == 2 and "cat" in texts
    assert any(text.startswith("a dog") and text.endswith("…") for text in texts)


def test_small_images_are_enlarged_in_whole_steps_and_large_ones_reduced():
    small, large = picture(1, 32), picture(2, 256)
    assert (figure_images._embedded(small)[::3, ::3] == small).all()
    assert figure_images._embedded(small).shape == figure_images._embedded(large).shape == (96, 96, 3)


def test_texts_fit():
    assert wrap("one two three", 7) == ["one two", "three"]
    assert shorten("crescent", 500, 8) == "crescent"
    cut = shorten("a very long name indeed", 50, 8)
    assert cut.endswith("…") and cut[:-1] and "a very long name indeed".startswith(cut[:-1])
    assert len(shorten("mmmmmmmmmmmm", 50, 8)) < len(shorten("iiiiiiiiiiiiiiiiiiiiiiii", 50, 8))
