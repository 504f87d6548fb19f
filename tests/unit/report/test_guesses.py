"""Five labels with bars, as they stand in a terminal."""

from __future__ import annotations

import json

import pytest

from alexnet.report.guesses import Guess, Label, render, shorten, to_json

GUESS = Guess(
    "dog.jpg", "cnn1", [Label("n02119789", "kit fox, Vulpes macrotis", 0.75), Label("n02100735", "English setter", 0.035)]
)  # fmt: skip


def test_a_label_has_words_a_probability_and_a_bar_to_an_eighth():
    assert render([GUESS], 100, is_plain=False).splitlines() == [
        "dog.jpg (cnn1)",
        "  n02119789  kit fox, Vulpes macrotis   75.0 %  ██████████████████",
        "  n02100735  English setter              3.5 %  ▉",
    ]


def test_plain_text_is_ascii():
    text = render([GUESS], 60, is_plain=True)
    assert text.isascii() and "  75.0 %  #########\n" in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("is_plain", [True, False])
def test_no_line_is_wider_than_the_terminal(width, is_plain):
    guess = Guess("a.jpg", "cnn1", [Label("n02119789", "a very " * 20 + "long name", 1.0)])
    lines = render([guess], width, is_plain=is_plain).splitlines()
    assert len(lines[1]) <= width and lines[1].rstrip("█#").endswith("100.0 %  ")
    assert len(lines[1]) - len(lines[1].rstrip("█#")) == {40: 8, 60: 12, 80: 24, 200: 24}[width]


def test_images_stand_apart_and_a_class_without_words_has_its_wnid():
    text = render([GUESS, Guess("b.png", "a + b", [Label("n1", "", 0.5)])], 80, is_plain=True)
    assert (
        "\n\nb.png (a + b)\n  n1         n1   " in text and text.endswith("#\n") and text.count("\n\n") == 1
    )


def test_json_holds_everything():
    assert json.loads(to_json([GUESS])) == [
        {
            "image": "dog.jpg", "by": "cnn1", "labels": [
                {"wnid": "n02119789", "words": "kit fox, Vulpes macrotis", "prob": 0.75},
                {"wnid": "n02100735", "words": "English setter", "prob": 0.035},
            ],
        }
    ]  # fmt: skip


def test_a_cut_name_ends_with_a_mark():
    assert shorten("kit fox, Vulpes", 15) == "kit fox, Vulpes"
    assert shorten("kit fox, Vulpes", 10) == "kit fox…"
    assert shorten("kit fox, Vulpes", 10, "...") == "kit fox..."
