"""The commands classify, similar and card, by a small net trained here."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet import cli
from alexnet.core.augment import CENTRE_VIEW, view_batch, view_places
from alexnet.core.protocol import PredictParams
from alexnet.data.kept_features import hash_inputs
from alexnet.data.nets import NetFiles
from alexnet.data.predictions import read_predictions, write_predictions
from alexnet.data.shards import load_manifest, open_split
from alexnet.data.stats import read_colours
from alexnet.data.weights import read_network
from alexnet.errors import UserError
from alexnet.report.sheet import draw_sheet, shrink
from alexnet.stages import card, classify, predict, similar
from tests.unit.core.made_networks import protocol
from tests.unit.stages.test_train import ROOT, make_project, run

CPU = {"device_name": "cpu", "threads": 1}
LINE = card.Line("cnn", "made", "generated", "two_columns", "default", None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two nets with predictions, and the test images as files."""
    project = make_project(tmp_path_factory.mktemp("project"))
    for number, name in enumerate(("net", "other"), 1):
        run(project, name, seed=number)
        for split in ("val", "test"):
            predict.run(
                name, split, PredictParams(batch=5, store_probs_up_to=1000), "made", project / "data", project / "stats",
                project / name / "weights.safetensors", project / f"predictions/made/{name}/{split}.parquet",
                features=project / f"{name}-{split}.npy", **CPU,
            )  # fmt: skip
    test = open_split(project / "data", "test")
    for number, pixels in enumerate(test.read(range(len(test)))):
        Image.fromarray(pixels).save(project / f"image{number}.png")
    return project


def files(project, name="net"):
    return NetFiles(name, project / name / "weights.safetensors", project / "stats")


def images(project):
    return [project / f"image{number}.png" for number in range(6)]


def test_a_net_says_of_files_what_it_predicted_of_the_same_images(trained):
    guesses = classify.run(images(trained), [files(trained)], trained / "data", 4, **CPU)
    stored = read_predictions(trained / "predictions/made/net/test.parquet")
    synsets = load_manifest(trained / "data").synsets
    assert [guess.image for guess in guesses] == [str(path) for path in images(trained)]
    for guess, labels, probs in zip(guesses, stored.ten.labels, stored.ten.top_probs, strict=True):
        assert [label.wnid for label in guess.labels] == [synsets[label].wnid for label in labels]
        assert [label.prob for label in guess.labels] == pytest.approx(probs.tolist(), abs=1e-6)
        assert guess.labels[0].words == f"bar {labels[0]}" and guess.by == "net"


def test_an_ensemble_averages_probabilities(trained):
    nets = [files(trained), files(trained, "other")]
    guesses = classify.run(images(trained)[:2], nets, trained / "data", 8, **CPU)
    stored = [
        read_predictions(trained / f"predictions/made/{name}/test.parquet") for name in ("net", "other")
    ]
    mean = np.mean([each.ten.probs[:2].astype(np.float64) for each in stored], axis=0)
    for guess, expected in zip(guesses, mean, strict=True):
        assert guess.by == "net + other"
        assert [label.prob for label in guess.labels] == pytest.approx(
            sorted(expected, reverse=True), abs=1e-3
        )


def test_a_net_that_does_not_fit_the_data_set_is_refused(trained, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(trained / "data", data)
    manifest = json.loads((data / "manifest.json").read_text())
    for changes, message in (
        ({"num_classes": 5}, "the number of classes is not that of made, found 4, expected 5"),
        ({"resize": 31}, "wants larger images than made has, found 31 pixels, expected 32 or more"),
        ({"resize": 40}, "the mean image is of another size than the images"),
    ):
        (data / "manifest.json").write_text(json.dumps({**manifest, **changes}))
        with pytest.raises(UserError, match=message):
            classify.run(images(trained), [files(trained)], data, 4, **CPU)
    without = NetFiles("net", files(trained).weights, tmp_path)
    with pytest.raises(UserError, match="the mean image is missing"):
        classify.run(images(trained), [without], trained / "data", 4, **CPU)


def find(trained, folder, image="image3.png", count=3, sheet=None, batch=7):
    net = files(trained)
    key = hash_inputs(net.weights, trained / "data", trained / "stats")
    kept = similar.Kept(folder / "net.npy", key)
    return similar.run(
        trained / image, net, trained / "data", kept, count, sheet, batch=batch, readers=1, **CPU
    )  # fmt: skip


@torch.no_grad()
def plain_features(project, pixels):
    """Features of the centre views, all at once."""
    network, _ = read_network(project / "net/weights.safetensors")
    mean_image = read_colours(project / "stats").mean_image
    place = view_places(pixels.shape[1], network.side)[CENTRE_VIEW]
    return network.run(view_batch(torch.from_numpy(pixels), mean_image, place, network.side))[0].numpy()


def test_the_nearest_images_are_those_of_a_plain_search(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(similar, "ROWS_AT_ONCE", 9)
    train, test = open_split(trained / "data", "train"), open_split(trained / "data", "test")
    features = plain_features(trained, train.read(range(len(train))))
    query = plain_features(trained, test.read([3]))
    assert query[0] == pytest.approx(np.load(trained / "net-test.npy")[3], abs=1e-4)
    distances = np.linalg.norm(features.astype(np.float64) - query, axis=1)
    found = find(trained, tmp_path, count=5)
    best = np.argsort(distances)[:5]
    assert [each.key for each in found] == [train.keys[row] for row in best]
    assert [each.distance for each in found] == pytest.approx(distances[best], rel=1e-4)
    assert [each.words for each in found] == [f"bar {train.labels[row]}" for row in best]
    assert np.load(tmp_path / "net.npy") == pytest.approx(features, abs=1e-4)
    assert len(find(trained, tmp_path, count=99)) == len(train)
    assert similar.render(found).splitlines()[0].split() == [
        f"{found[0].distance:.3f}", found[0].key, found[0].wnid, "bar", found[0].words[-1],
    ]  # fmt: skip


def test_a_training_image_is_its_own_neighbour(trained, tmp_path):
    train = open_split(trained / "data", "train")
    Image.fromarray(train.read([17])[0]).save(trained / "own.png")
    nearest = find(trained, tmp_path, "own.png", 1)[0]
    assert nearest.key == train.keys[17] and nearest.distance == pytest.approx(0, abs=1e-4)


def test_features_are_computed_once(trained, tmp_path, monkeypatch):
    first = find(trained, tmp_path)
    monkeypatch.setattr(similar, "_compute", lambda *_: pytest.fail("computed again"))
    assert find(trained, tmp_path) == first


def test_a_stopped_computation_goes_on(trained, tmp_path, monkeypatch, capsys):
    whole = find(trained, tmp_path / "whole")
    real, seen = similar.centre_features, []

    def stop(network, pixels, mean_image):
        seen.append(len(pixels))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(network, pixels, mean_image)

    monkeypatch.setattr(similar, "centre_features", stop)
    with pytest.raises(KeyboardInterrupt):
        find(trained, tmp_path)
    monkeypatch.setattr(similar, "centre_features", real)
    assert find(trained, tmp_path) == whole
    assert "similar: going on after 14 images" in capsys.readouterr().err
    assert (tmp_path / "net.npy").read_bytes() == (tmp_path / "whole/net.npy").read_bytes()


def test_the_sheet_shows_the_image_and_its_neighbours_in_order(trained, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        similar, "draw_sheet", lambda title, cells: drawn.append((title, cells)) or draw_sheet(title, cells)
    )
    found = find(trained, tmp_path, sheet=tmp_path / "sheet.png")
    train = open_split(trained / "data", "train")
    ((title, cells),) = drawn
    pictures = [open_split(trained / "data", "test").read([3])[0]]
    pictures += [train.read([train.keys.index(near.key)])[0] for near in found]
    for cell, pixels in zip(cells, pictures, strict=True):
        assert np.array_equal(cell.image, shrink(pixels))
    assert "of net" in title and cells[0].title == "image3.png"
    assert [cell.title for cell in cells[1:]] == [f"{near.distance:.3f}" for near in found]
    assert [list(cell.caption) for cell in cells[1:]] == [[near.words, near.key] for near in found]
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def write_card(trained, output, line=LINE, name="net", **changes):
    folder = trained / name
    inputs = {
        "weights": folder / "weights.safetensors", "record": folder / "record.json", "history": folder / "history.csv",
        "predictions": trained / "predictions", "data": trained / "data", **changes,
    }  # fmt: skip
    card.run(
        name, line, protocol("paper", batch=16, epochs=3, crop=32), 0.95, card.CardInputs(**inputs), output
    )
    return output.read_text()


def test_a_card_says_what_the_run_was(trained, tmp_path):
    text = write_card(trained, tmp_path / "cards/net.md")
    stored = read_predictions(trained / "predictions/made/net/val.parquet")
    wrong = (stored.ten.labels[:, 0] != stored.labels).mean()
    assert f"| val | ten views | top-1 | {100 * wrong:.1f} | " in text and "| 12 | 40.7 |" in text
    assert "its numbers prove the pipeline, not the paper" in text
    assert "| train | 40 | 0 | 0 |" in text and "seed 1, protocol `default`, 3 epochs of 40 images" in text
    assert "| `crop` | 32 | 224 |" in text and "| `batch` | 16 | 128 |" in text
    assert "| `colour_basis` | stddev | eigenvalue01 |" in text
    assert "`momentum`" not in text and "`weight_decay`" not in text
    assert "| `fc8.bias` | 4 | F32 | 4 |" in text and "float32 of images of 36 x 36" in text
    assert write_card(trained, tmp_path / "again.md") == text


def test_a_card_of_a_net_that_started_from_another_says_so(trained, tmp_path):
    run(trained, "tuned", start="net/weights.safetensors", seed=3)
    for split in ("val", "test"):
        predict.run(
            "tuned", split, PredictParams(batch=5, store_probs_up_to=1), "made", trained / "data", trained / "stats",
            trained / "tuned/weights.safetensors", trained / f"predictions/made/tuned/{split}.parquet", **CPU,
        )  # fmt: skip
    line = card.Line("cnn*", "made", "fall", "two_columns", "paper", "net")
    text = write_card(trained, tmp_path / "a.md", line, "tuned")
    assert "Started from `net`, of which it took conv1, conv2, conv3, conv4, conv5, fc6, fc7; seed 3" in text
    assert "a release of ImageNet" in text and "drawn" not in text and "| 39.0 |" in text


def test_a_card_is_not_written_from_what_does_not_belong_together(trained, tmp_path):
    output = tmp_path / "a.md"
    for changes, message in (
        (
            {"record": trained / "other/record.json"},
            "is the record of another member, found other, expected net",
        ),
        ({"record": tmp_path / "no.json"}, "Run `alexnet train net` first"),
        ({"predictions": tmp_path}, "the predictions are missing"),
        ({"history": tmp_path / "no.csv"}, "cannot be read"),
        (
            {"weights": trained / "scratch.safetensors"},
            "is not of the network that .* describes, found 0 values",
        ),
    ):
        with pytest.raises(UserError, match=message):
            write_card(trained, output, **changes)
    assert not output.exists()


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A project in which cnn1 and cnn2 are trained, and no other member."""
    work = tmp_path / "work"
    shutil.copytree(trained / "data", work / "data/ilsvrc2012")
    shutil.copytree(trained / "stats", work / "stats/ilsvrc2012")
    for member, name in (("cnn1", "net"), ("cnn2", "other")):
        shutil.copytree(trained / name, work / "models" / member)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return tmp_path


def say(capsys, *arguments):
    """What a command prints; its exit code must be 0."""
    assert cli.main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_classify_takes_a_member_the_first_or_other_weights(place, trained, capsys):
    image = trained / "image0.png"
    texts = {}
    for name in ("net", "other"):
        guesses = classify.run([image], [files(trained, name)], trained / "data", 4, **CPU)
        texts[name] = [label.wnid for label in guesses[0].labels], guesses[0].labels[0].prob

    def found(*arguments):
        guess = json.loads(say(capsys, "classify", image, "--json", *arguments))[0]
        return [label["wnid"] for label in guess["labels"]], pytest.approx(guess["labels"][0]["prob"])

    assert found() == found("--member", "cnn1") == texts["net"]
    assert (
        found("--member", "cnn2")
        == found("--weights", trained / "other/weights.safetensors")
        == texts["other"]
    )
    (place / "work/models/cnn1/weights.safetensors").unlink()
    assert found() == texts["other"]
    assert say(capsys, "classify", image).startswith(f"{image} (cnn2)\n  n0000000")


def test_similar_keeps_features_and_prints_neighbours(place, trained, capsys):
    sheet = place / "sheets/a.png"
    text = say(capsys, "similar", trained / "image3.png", "--count", 2, "--sheet", sheet)
    assert [line.split()[1] for line in text.splitlines()] == [
        near.key for near in find(trained, place, count=2)
    ]
    assert (place / "work/features/cnn1.npy").is_file() and sheet.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "a.png", "--member", "cnn9"], "names what does not exist, found cnn9"),
        (["classify", "a.png", "--ensemble", "cnn"], "work/models/cnn3/weights.safetensors: is missing"),
        (["classify", "a.png", "--ensemble", "nets"], "--ensemble: no member is of this group, found nets"),
        (["classify", "a.png", "--ensemble", "cnn,cnn2010"], "these are trained on different data sets"),
        (["classify", "a.png", "--ensemble", "cnn", "--weights", "w"], "--weights: is one net's"),
        (["classify", "b.png"], "b.png: cannot be read: No such file"),
        (["similar", "a.png", "--count", "0"], "--count: is too small, found 0"),
        (["similar", "a.png", "--member", "cnn3"], "work/models/cnn3/weights.safetensors: cannot be read"),
        (["submission", "cnn1", "--output", "s.txt"], "the predictions are missing"),
        (["card", "cnn1", "--output", "c.md"], "is the record of another member, found net, expected cnn1"),
        (["card", "cnn3", "--output", "c.md"], "Run `alexnet train cnn3` first"),
    ],
)
def test_a_mistake_is_said_and_nothing_is_written(place, trained, arguments, message, capsys):
    shutil.copy(trained / "image0.png", "a.png")
    assert cli.main(arguments) == 1
    assert message in capsys.readouterr().err
    assert not Path("s.txt").exists() and not Path("c.md").exists() and not Path("work/features").exists()


def test_without_a_trained_member_the_message_says_so(place, capsys):
    shutil.rmtree("work/models")
    assert cli.main(["classify", "a.png"]) == 1
    assert "no member is trained, expected weights in work/models/MEMBER" in capsys.readouterr().err


def test_cards_and_submissions_are_written_from_the_places_of_a_run(place, trained, capsys):
    for member, name in (("cnn1", "net"), ("cnn2", "other")):
        for split in ("val", "test"):
            stored = read_predictions(trained / f"predictions/made/{name}/{split}.parquet")
            moved = dataclasses.replace(stored, dataset="ilsvrc2012", member=member)
            write_predictions(place / f"work/predictions/ilsvrc2012/{member}/{split}.parquet", moved)
    text = (place / "work/models/cnn1/record.json").read_text()
    (place / "work/models/cnn1/record.json").write_text(text.replace('"net"', '"cnn1"'))
    say(capsys, "card", "cnn1", "--output", "cards/cnn1.md")
    assert Path("cards/cnn1.md").read_text().startswith("# cnn1\n")
    assert cli.main(["card", "--output", "all"]) == 1  # cnn2's record is another's
    assert "cnn2/record.json: is the record of another member" in capsys.readouterr().err
    assert [path.name for path in Path("all").iterdir()] == ["cnn1.md"]
    assert cli.main(["submission", "cnn1", "cnn2", "--output", "s.txt"]) == 1  # four classes
    assert "the format wants five guesses, found 4 classes" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["card", "submission", "offline_tables", "compare"])
def test_commands_that_run_no_net_do_not_import_torch(module):
    code = f"import sys, alexnet.cli_tools, alexnet.stages.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
