"""ILSVRC's submission format, written and read again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alexnet.core.predictions import hash_classes
from alexnet.data.inventory import Synset
from alexnet.data.predictions import write_predictions
from alexnet.data.shards import Manifest, PreparedCounts, write_manifest
from alexnet.errors import UserError
from alexnet.report.submission import make_submission, read_submission
from alexnet.stages import submission

from .made_predictions import make_predictions, make_unlabelled, view

# Labels 0 to 5 have devkit ids 4, 5, 6, 1, 2, 3: the order of the kit is not that of the wnids.
SYNSETS = [Synset(label, f"n{label:08}", "", (label + 3) % 6 + 1, label) for label in range(6)]


def test_a_line_per_image_in_the_order_of_the_names_with_devkit_ids():
    probs = np.array([[0.05, 0.5, 0.2, 0.1, 0.08, 0.07], [0.5, 0.2, 0.1, 0.08, 0.07, 0.05]])
    keys = ["test_00000002.JPEG", "test_00000001.JPEG"]
    predicted = make_predictions("a", "test", num_images=2, ten=view(probs), keys=keys)
    assert make_submission([predicted], SYNSETS) == "4 5 6 1 2\n5 6 1 2 3\n"


def test_several_members_are_averaged():
    one, other = np.array([[0.5, 0.3, 0.1, 0.1, 0, 0]]), np.array([[0, 0.4, 0, 0.1, 0.2, 0.3]])
    members = [
        make_predictions(name, "test", num_images=1, ten=view(probs))
        for name, probs in (("a", one), ("b", other))
    ]
    # Sums: 0.5, 0.7, 0.1, 0.2, 0.2, 0.3; of the equal ones the lower label first.
    assert make_submission(members, SYNSETS) == "5 4 3 1 2\n"


def test_what_is_written_reads_back(tmp_path):
    predictions = make_unlabelled("a", "test", "never public")
    counts = PreparedCounts(0, [], [], [], None)
    manifest = Manifest(
        "ilsvrc2012", 8, "area", "raw", None, {}, 6, SYNSETS, dict.fromkeys(("train", "val", "test"), counts)
    )
    write_manifest(tmp_path, manifest)
    write_predictions(tmp_path / "ilsvrc2012/a/test.parquet", predictions)
    said = submission.run(["a"], "test", "ilsvrc2012", tmp_path, tmp_path, tmp_path / "out/a.txt")
    assert said == f"{tmp_path}/out/a.txt: 20 images of ilsvrc2012 test, five classes each, by a"
    guesses = read_submission(tmp_path / "out/a.txt", 6)
    ids = np.array([synset.devkit_id for synset in SYNSETS])
    assert np.array_equal(guesses, ids[predictions.ten.labels])
    with pytest.raises(UserError, match="names a member twice"):
        submission.run(["a", "a"], "test", "ilsvrc2012", tmp_path, tmp_path, tmp_path / "b.txt")
    assert not (tmp_path / "b.txt").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_images": 0, "reason": "no archive"}, "there are no images, found no archive"),
        ({"num_classes": 4}, "the format wants five guesses, found 4 classes"),
        ({"synsets_sha256": "other"}, "predicts other classes"),
        ({"num_classes": 7}, "no devkit ids"),
    ],
)
def test_what_is_no_submission_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_submission([make_predictions("a", "test", **changes)], SYNSETS)


@pytest.mark.parametrize("ids", [[None] * 6, [1, 2, 3, 4, 5, 5], [0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 6, 7]])
def test_classes_without_devkit_ids_are_refused(ids):
    synsets = [replace(synset, devkit_id=id_) for synset, id_ in zip(SYNSETS, ids, strict=True)]
    with pytest.raises(UserError, match="have no devkit ids of 1 and up"):
        make_submission([make_predictions("a", "test")], synsets)


def test_the_classes_that_were_predicted_are_those_of_the_data_set():
    assert hash_classes(["n00000000", "n00000001"]) == (
        "0c647b3b1a2ae2763522348d388ff13448b72ffc899a87ebc5ec4af86b1b15ef"  # of "n00000000\\nn00000001"
    )
    known = hash_classes(synset.wnid for synset in SYNSETS)
    assert make_submission([make_predictions("a", "test", synsets_sha256=known)], SYNSETS).count("\n") == 20


def test_members_that_cannot_be_averaged_are_refused():
    one, other = make_predictions("a", "test"), make_predictions("b", "test", keep_probs=False)
    with pytest.raises(UserError, match="b stores only its best classes"):
        make_submission([one, other], SYNSETS)
    with pytest.raises(UserError, match="different images"):
        make_submission([one, make_predictions("b", "test", num_images=19)], SYNSETS)
    assert make_submission([other], SYNSETS) == make_submission([one], SYNSETS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3 4 5\n1 2 3 4 6", "is cut short"),
        ("", "is cut short"),
        ("1 2 3 4 5\n1 2 3 4 7\n", "line 2: is no line of a submission, found '1 2 3 4 7'"),
        ("1 2 3 4 0\n", "line 1"),
        ("1 2 3 4 4\n", "line 1"),
        ("1 2 3 4 5 6\n", "line 1"),
        ("1  2 3 4 5\n", "line 1"),
        ("1 2 3\n1 2\n", "line 2"),
        ("1 2 3 4 -5\n", "line 1"),
    ],
)
def test_the_reader_refuses_what_the_contest_would(text, message, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_submission(tmp_path / "a.txt", 6)
