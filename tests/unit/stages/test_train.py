"""Training end to end on a few images: files, resumption to the bit, and the mistakes a user can make."""

import json

import pandas as pd
import pytest

from alexnet.core.protocol import PredictParams
from alexnet.data.checkpoint import Checkpoints
from alexnet.data.predictions import read_predictions
from alexnet.data.weights import read_network, read_tensors, write_tensors
from alexnet.errors import UserError
from alexnet.stages import predict, rgb_pca, train
from tests.unit.core.test_layers import network as params_of
from tests.unit.core.test_network import NARROW
from tests.unit.core.test_protocol import protocol
from tests.unit.stages.made_data import make_data

SHORT = {"crop": 32, "batch": 16, "epochs": 3, "lr": 0.003, "drops": [0.7]}


@pytest.fixture
def project(tmp_path):
    make_data(tmp_path / "data")
    rgb_pca.run(tmp_path / "data", tmp_path / "stats")
    write_tensors(tmp_path / "scratch.safetensors", {}, {})
    return tmp_path


def run(project, name="net", variant="two_columns", start="scratch.safetensors", seed=1, **changes):
    folder = project / name
    train.run(
        name, seed, params_of(variant, **NARROW), protocol(**{**SHORT, **changes}),
        train.TrainInputs(project / "data", project / "stats", project / start),
        train.TrainOutputs(folder / "weights.safetensors", folder / "record.json", folder / "history.csv"),
        project / ".ckpt", device_name="cpu", threads=1,
    )  # fmt: skip
    return folder


def test_a_member_has_weights_record_and_a_row_per_epoch(project):
    folder = run(project)
    _, num_classes, crop = read_network(folder / "weights.safetensors")
    assert (num_classes, crop) == (4, 32)
    history = pd.read_csv(folder / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["lr"].tolist() == pytest.approx([0.003, 0.003, 0.0003])
    assert history["val_top5_error"].tolist() == [0, 0, 0]
    record = json.loads((folder / "record.json").read_text())
    assert record["machine"]["threads"] == 1 and record["num_images"] == 40
    assert record["protocol"]["batch"] == 16
    assert not (project / ".ckpt").exists() or not list((project / ".ckpt").iterdir())


@pytest.mark.parametrize("updates", [1, 2, 3, 5])
def test_a_killed_training_goes_on_to_the_same_bits(project, monkeypatch, updates):
    """Three updates an epoch: killed within the first, at its end, at the start and within the second."""
    whole = (run(project, "whole") / "weights.safetensors").read_bytes()

    class Killed(BaseException):
        pass

    real, done = Checkpoints.write, []

    def write_then_die(self, tensors, about):
        real(self, tensors, about)
        done.append(about)
        if len(done) == updates:
            raise Killed

    monkeypatch.setattr(Checkpoints, "is_due", lambda self: True)
    monkeypatch.setattr(Checkpoints, "write", write_then_die)
    with pytest.raises(Killed):
        run(project, "whole")
    monkeypatch.setattr(Checkpoints, "write", real)
    (project / "whole/weights.safetensors").unlink()
    resumed = run(project, "whole")
    assert (resumed / "weights.safetensors").read_bytes() == whole
    assert pd.read_csv(resumed / "history.csv")["epoch"].tolist() == [1, 2, 3]


def test_a_checkpoint_of_another_configuration_is_not_taken_up(project, monkeypatch):
    class Killed(BaseException):
        pass

    def die(self, *_):
        raise Killed

    alone = (run(project, "net", seed=2) / "weights.safetensors").read_bytes()
    real = Checkpoints.write
    monkeypatch.setattr(Checkpoints, "is_due", lambda self: True)
    monkeypatch.setattr(Checkpoints, "write", lambda self, *content: (real(self, *content), die(self)))
    with pytest.raises(Killed):
        run(project, "net", seed=1)
    monkeypatch.undo()
    assert (run(project, "net", seed=2) / "weights.safetensors").read_bytes() == alone
    assert len(list((project / ".ckpt").iterdir())) == 1


def test_fine_tuning_starts_from_every_layer_but_the_last(project):
    start = run(project, "start", "six_conv")
    tuned = run(project, "tuned", "six_conv", "start/weights.safetensors", lr=1e-12, seed=9)
    before, after = (read_tensors(folder / "weights.safetensors").tensors for folder in (start, tuned))
    assert (after["conv6.weight"] - before["conv6.weight"]).abs().max() < 1e-6
    assert (after["fc8.weight"] - before["fc8.weight"]).abs().max() > 1e-3
    assert "fc7.weight" in json.loads((tuned / "record.json").read_text())["copied_from_start"]


def test_a_start_of_another_variant_is_a_users_mistake(project):
    run(project, "start", "six_conv")
    with pytest.raises(UserError, match=r"members.net.start: does not fit its variant: conv6.bias is"):
        run(project, "net", "two_columns", "start/weights.safetensors")


def test_a_loss_that_is_no_number_stops_the_run(project):
    with pytest.raises(
        UserError, match=r"member net: the loss is no longer a number at update \d+, found lr 1e\+20"
    ):
        run(project, lr=1e20)
    assert not (project / "net").exists()


def test_a_crop_larger_than_the_images_is_refused(project):
    with pytest.raises(
        UserError, match="crop is larger than the prepared images, found 40, expected at most 36"
    ):
        run(project, crop=40)


def test_a_missing_start_is_told(project):
    with pytest.raises(UserError, match=r"nothing.safetensors: is missing"):
        run(project, start="nothing.safetensors")


def test_a_weights_file_cut_short_is_told(project):
    path = run(project) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="is no whole safetensors file"):
        read_network(path)


def predicted(project, split, batch=5, keep=1000):
    folder = run(project) if not (project / "net").exists() else project / "net"
    output = project / f"{split}.parquet"
    predict.run(
        "net", split, PredictParams(batch=batch, store_probs_up_to=keep), "made", project / "data", project / "stats",
        folder / "weights.safetensors", output, device_name="cpu", threads=1,
    )  # fmt: skip
    return read_predictions(output)


def test_every_image_is_predicted_once_also_when_the_batch_does_not_divide(project):
    predictions = predicted(project, "val")
    assert predictions.keys == [f"val_{place:04}" for place in range(12)]
    assert predictions.labels.tolist() == [place % 4 for place in range(12)]
    assert predictions.ten.probs.shape == (12, 4)
    assert predictions.ten.probs.astype("f8").sum(1) == pytest.approx([1] * 12, abs=2e-3)


def test_the_batch_does_not_change_what_is_predicted(project):
    few, many = predicted(project, "val", batch=5), predicted(project, "val", batch=12)
    assert (few.ten.labels == many.ten.labels).all()
    assert few.ten.top_probs == pytest.approx(many.ten.top_probs, abs=1e-5)


def test_above_the_limit_only_the_best_are_stored(project):
    predictions = predicted(project, "test", keep=3)
    assert predictions.ten.probs is None and predictions.centre.probs is None
    assert predictions.ten.labels.shape == (6, 4)


def test_weights_for_other_classes_are_refused(project):
    folder = run(project)
    stored = read_tensors(folder / "weights.safetensors")
    stored.tensors["fc8.weight"], stored.tensors["fc8.bias"] = (
        stored.tensors["fc8.weight"][:3], stored.tensors["fc8.bias"][:3],
    )  # fmt: skip
    write_tensors(folder / "weights.safetensors", stored.tensors, {**stored.about, "num_classes": 3})
    with pytest.raises(UserError, match="the number of classes is not that of the data, found 3, expected 4"):
        predicted(project, "val")
