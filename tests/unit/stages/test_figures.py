"""The stages of Figures 2 to 4 on drawn images and small nets: nearest images by a plain twin, and what is written."""

import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from alexnet.core.figure_params import NeighbourParams
from alexnet.core.metrics import rank
from alexnet.core.nearest import centre_features, draw_images
from alexnet.data.predictions import Predictions, ViewPredictions, write_predictions
from alexnet.data.shards import open_split
from alexnet.data.weights import describe_network, read_network, write_tensors
from alexnet.errors import UserError
from alexnet.stages import figures, neighbours
from tests.unit.core.made_networks import CROP, build
from tests.unit.stages.made_data import SIDE, make_data

MEAN = np.full((SIDE, SIDE, 3), 120.0)
FILES = {f"figure{n}{end}" for n in (1, 2, 3, 4) for end in (".svg", ".png", "_narrow.svg")} | {
    "figures.json"
}


@dataclass
class Line:
    group: str
    data: str = "made"


MEMBERS = {"other": Line("cnn*"), "cnn1": Line("cnn"), "cnn2": Line("cnn")}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    make_data(folder / "data", train=40, val=20, test=16)
    make_data(folder / "unlabelled", train=40, val=20, test=16, labelled_test=False)
    (folder / "stats").mkdir()
    np.save(folder / "stats/mean_image.npy", MEAN)
    (folder / "stats/rgb_pca.json").write_text(
        json.dumps({"stddev": [1, 1, 1], "eigenvectors": [[1, 0, 0]] * 3})
    )
    for seed, member in enumerate(MEMBERS):
        net = build(classes=4, seed=seed)
        write_tensors(
            folder / f"models/{member}/weights.safetensors", net.state_dict(), describe_network(net, 4, CROP)
        )
    find(folder, folder / "data", folder / "neighbours/cnn1")
    probs = np.random.default_rng(0).dirichlet(np.ones(4), 16).astype(np.float32)
    view, test = ViewPredictions(*rank(probs, 5), None), open_split(folder / "data", "test")
    write_predictions(
        folder / "predictions/made/cnn1/test.parquet",
        Predictions("made", "cnn1", "test", 4, list(test.keys), test.labels, view, view, None),
    )
    return folder


def find(folder, data, output, **changes):
    neighbours.run(
        "cnn1", NeighbourParams(data="made", seed=5), 7, data, folder / "stats",
        folder / "models/cnn1/weights.safetensors", output, device_name="cpu", threads=1, **changes,
    )  # fmt: skip
    return json.loads((output / "neighbours.json").read_text())


def draw(folder, output, members=MEMBERS, lines=("cnn1",), left_out=None, **changes):
    inputs = {name: folder / name for name in ("relu_tanh", "neighbours", "models", "predictions")}
    figures.run(
        figures.Lines(members, lines, left_out or {}), figures.Inputs(**{**inputs, **changes}), output
    )
    return json.loads((output / "figures.json").read_text())


@pytest.fixture(scope="module")
def drawn(folders):
    return draw(folders, folders / "drawn")


def test_nearest_images_are_those_of_a_plain_search(folders):
    found = json.loads((folders / "neighbours/cnn1/neighbours.json").read_text())
    shown = np.load(folders / "neighbours/cnn1/shown.npy")
    train, test = (open_split(folders / "data", split) for split in ("train", "test"))
    network, _ = read_network(folders / "models/cnn1/weights.safetensors")
    mean = torch.from_numpy(MEAN).float()
    asked = draw_images(16, 5, 8, 5)
    assert [one["index"] for one in found["labelled"]] == asked[0]
    assert [one["index"] for one in found["searched"]] == asked[1]
    everything, questions = train.read(np.arange(40)), test.read(asked[1])
    points = {
        "features": [
            centre_features(network, torch.from_numpy(x), mean).numpy() for x in (everything, questions)
        ],
        "pixels": [x.reshape(len(x), -1) for x in (everything, questions)],
    }
    for kind, (others, own) in points.items():
        for row, one in enumerate(found["searched"]):
            distances = np.sqrt(np.square(others.astype(np.float64) - own[row]).sum(1))
            expected = np.argsort(distances, kind="stable")[:6]
            assert [image["index"] for image in one[kind]] == expected.tolist()
            assert [image["distance"] for image in one[kind]] == pytest.approx(distances[expected], rel=1e-5)
            for image in one[kind]:
                assert (shown[image["place"]] == everything[image["index"]]).all()
                assert image["label"] == train.labels[image["index"]]
                assert image["key"] == train.keys[image["index"]]


def test_val_stands_in_for_a_test_split_without_labels(folders, tmp_path):
    assert find(folders, folders / "unlabelled", tmp_path / "out")["split"] == "val"


def test_reading_ahead_changes_nothing(folders, tmp_path):
    find(folders, folders / "data", tmp_path / "out", readers=0)
    for name in ("shown.npy", "neighbours.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folders / "neighbours/cnn1" / name).read_bytes()


def test_a_net_of_other_classes_is_refused(folders, tmp_path):
    net = build(classes=3)
    write_tensors(tmp_path / "weights.safetensors", net.state_dict(), describe_network(net, 3, CROP))
    with pytest.raises(UserError, match="number of classes is not that of the data, found 3, expected 4"):
        neighbours.run(
            "cnn1", NeighbourParams(data="made", seed=5), 7, folders / "data", folders / "stats",
            tmp_path / "weights.safetensors", tmp_path / "out", device_name="cpu", threads=1,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_every_figure_is_written_and_a_missing_one_says_why(folders, drawn):
    assert {path.name for path in (folders / "drawn").iterdir()} == FILES
    assert drawn["figure1"] == {"not_run": "ReLU and tanh were not trained."}
    assert drawn["figure2"]["member"] == drawn["figure3"]["member"] == drawn["figure4"]["member"] == "cnn1"
    assert list(drawn["figure3"]["nets"]) == ["cnn1", "cnn2"]  # all of the group, and no other
    assert drawn["figure3"]["nets_compared"] == 2


def test_drawing_again_gives_the_same_bytes(folders, drawn, tmp_path):
    draw(folders, tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (folders / "drawn" / name).read_bytes()


def test_counts_of_figure_2_are_the_nets_own(folders, drawn):
    network, _ = read_network(folders / "models/cnn1/weights.safetensors")
    assert drawn["figure2"]["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert drawn["figure2"]["input_side"] == CROP


def test_labels_of_figure_4_are_the_stored_predictions(folders, drawn):
    probs = np.random.default_rng(0).dirichlet(np.ones(4), 16).astype(np.float32)
    test = open_split(folders / "data", "test")
    for one, index in zip(drawn["figure4"]["labelled"], draw_images(16, 5, 8, 5)[0], strict=True):
        assert one["best"] == np.argsort(-probs[index]).tolist()
        assert one["probs"] == pytest.approx(sorted(probs[index].tolist(), reverse=True), abs=1e-6)
        assert (one["key"], one["label"]) == (test.keys[index], test.labels[index])


def test_nearest_images_of_the_same_class_are_counted(folders, tmp_path):
    """In the drawn set all are of the same class, so labels are changed."""
    shutil.copytree(folders / "neighbours/cnn1", tmp_path / "cnn1")
    about = json.loads((tmp_path / "cnn1/neighbours.json").read_text())
    for one in about["searched"]:
        for kind, others in (("features", 1), ("pixels", 4)):
            for place, image in enumerate(one[kind]):
                image["label"] = one["label"] if place >= others else (one["label"] + 1) % 4
    (tmp_path / "cnn1/neighbours.json").write_text(json.dumps(about))
    numbers = draw(folders, tmp_path / "out", neighbours=tmp_path)["figure4"]
    assert (numbers["nearest"], numbers["of_same_class"]) == (30, {"features": 25, "pixels": 10})


def test_figure_1_takes_the_numbers_of_its_stage(folders, tmp_path):
    (tmp_path / "relu").mkdir()
    rows = [
        ("relu", 0.1, 1, 1, 0.9),
        ("relu", 0.1, 1, 2, 0.2),
        ("tanh", 0.2, 1, 1, 0.9),
        ("tanh", 0.2, 1, 2, 0.25),
    ]
    header = "activation,lr,seed,epoch,train_top1_error"
    (tmp_path / "relu/history.csv").write_text(
        "\n".join([header, *(",".join(map(str, row)) for row in rows), ""])
    )
    choice = {"data": "made", "num_images": 18, "num_classes": 3, "side": 36, "num_parameters": 5, "target": 0.25,
              "seeds": [1], "relu": {"lr": 0.1, "epochs": [1.9]}, "tanh": {"lr": 0.2, "epochs": [2.0]},
              "ratio": 1.05}  # fmt: skip
    (tmp_path / "relu/choice.json").write_text(json.dumps(choice))
    numbers = draw(folders, tmp_path / "out", relu_tanh=tmp_path / "relu")["figure1"]
    assert numbers == {"data": "made", "rates": {"relu": 0.1, "tanh": 0.2}, "target": 0.25,
                       "epochs": {"relu": [1.9], "tanh": [2.0]}, "ratio": 1.05}  # fmt: skip
    (tmp_path / "relu/choice.json").write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        draw(folders, tmp_path / "out", relu_tanh=tmp_path / "relu")
    assert json.loads((tmp_path / "out/figures.json").read_text())["figure1"] == numbers  # as it was


def test_what_was_left_out_is_said_with_the_reason(folders, tmp_path):
    left_out = {"ilsvrc2012": "no source was given (--data ilsvrc2012=PATH)"}
    numbers = draw(folders, tmp_path / "out", {"other": Line("cnn*")}, (), left_out)
    for number in (2, 3, 4):
        assert "ilsvrc2012 was left out, no source was given" in numbers[f"figure{number}"]["not_run"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_missing_weights_are_a_users_mistake(folders, tmp_path):
    with pytest.raises(UserError, match="is missing. Build the stage that makes it"):
        draw(folders, tmp_path / "out", {"cnn9": Line("cnn")})


def test_predictions_of_other_images_are_refused(folders, tmp_path):
    probs = np.full((1, 4), 0.25, np.float32)
    view = ViewPredictions(*rank(probs, 5), None)
    write_predictions(
        tmp_path / "predictions/made/cnn1/test.parquet",
        Predictions("made", "cnn1", "test", 4, ["another"], np.array([0]), view, view, None),
    )
    with pytest.raises(UserError, match="shows an image that cnn1 has not predicted"):
        draw(folders, tmp_path / "out", predictions=tmp_path / "predictions")
