"""Training end to end on a few images: files, resumption to the bit, and the mistakes a user can make."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from alexnet.core.protocol import PredictParams
from alexnet.data import reading
from alexnet.data.checkpoint import FILE, Checkpoints, find_differences
from alexnet.data.predictions import read_predictions
from alexnet.data.weights import Entry, open_tensors, read_network, read_tensors, write_stream, write_tensors
from alexnet.errors import UserError
from alexnet.stages import predict, rgb_pca, train
from tests.unit.core.made_networks import NARROW, PROTOCOLS, network, protocol
from tests.unit.stages.made_data import make_data

ROOT = Path(__file__).parents[3]
TIMED = ["images_per_s", "waited"]  # columns of a history that are never twice the same
SHORT = {"crop": 32, "batch": 16, "epochs": 3, "lr": 0.003, "schedule": {"kind": "steps", "drops": [0.7]}}


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


def make_project(folder, **data):
    make_data(folder / "data", **data)
    rgb_pca.run(folder / "data", folder / "stats")
    write_tensors(folder / "scratch.safetensors", {}, {})
    return folder


def run(
    project, name="net", variant="two_columns", start="scratch.safetensors", seed=1, by="default", setup=None, **changes
):  # fmt: skip
    folder = project / name
    train.run(
        name, seed, network(variant, **NARROW), protocol(by, **{**SHORT, **changes}),
        train.TrainInputs(project / "data", project / "stats", project / start),
        train.TrainOutputs(folder / "weights.safetensors", folder / "record.json", folder / "history.csv"),
        project / ".ckpt", setup or train.Setup("cpu", 1),
    )  # fmt: skip
    return folder


def test_a_member_has_weights_record_and_a_row_per_epoch(project):
    folder = run(project)
    made, num_classes = read_network(folder / "weights.safetensors")
    assert (num_classes, made.side) == (4, 32)
    history = pd.read_csv(folder / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["lr"].tolist() == pytest.approx([0.003, 0.003, 0.0003])
    assert history["val_top5_error"].tolist() == [0, 0, 0]
    assert history["fc7_weight_norm"].tolist()[-1] == pytest.approx(made.fc7.weight.norm().item(), rel=1e-4)
    assert (history["conv1_update_norm"] > 0).all() and (history["images_per_s"] > 0).all()
    assert ((history["waited"] > 0) & (history["waited"] < 1)).all()
    record = json.loads((folder / "record.json").read_text())
    assert record["machine"]["threads"] == 1 and record["num_images"] == 40
    assert record["protocol"]["batch"] == 16 and "note" not in record["machine"]
    assert not (project / ".ckpt").exists() or not list((project / ".ckpt").iterdir())


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_member_trains_under_every_protocol_and_its_switches_stay_with_the_weights(project, name):
    schedule = protocol(name).schedule.model_dump() | ({"patience": 1} if name == "paper" else {})
    folder = run(project, by=name, schedule=schedule, epochs=4)
    made, _ = read_network(folder / "weights.safetensors")
    assert made.switches.norm1_before_relu == made.switches.spatial_norm2 == (name == "code2012")
    assert made.switches.mean_align == ("centre" if name == "code2012" else "under_crop")
    assert np.isfinite(pd.read_csv(folder / "history.csv")["train_loss"]).all()


def test_a_plateau_schedule_says_each_decision_with_its_reason(project, capsys):
    schedule = {"kind": "plateau", "patience": 1, "least_gain": 0.9, "drops": 1}
    folder = run(project, schedule=schedule, epochs=9)
    history = pd.read_csv(folder / "history.csv")
    assert history["lr"].tolist() == pytest.approx([0.003, 0.003, 0.0003])  # stopped after the second stall
    decisions = json.loads((folder / "record.json").read_text())["decisions"]
    assert [decision["action"] for decision in decisions] == ["keep", "drop", "stop"]
    printed = capsys.readouterr().out
    assert "train net: after epoch 2 drop: validation error" in printed
    assert "lr divided by 10, 1 of 1 times" in printed


def test_a_plateau_schedule_without_labelled_val_images_is_refused_before_work(tmp_path):
    project = make_project(tmp_path, val=0)
    with pytest.raises(
        UserError, match=r"waits for a plateau of the validation error, but its data set has no labelled"
    ):
        run(project, schedule={"kind": "plateau", "patience": 1, "least_gain": 0.0, "drops": 3})
    assert not (project / "net").exists()


def kill_after(project, monkeypatch, updates, name="whole", **settings):
    """Runs until so many checkpoints are written, one after each update, and dies."""

    class Killed(BaseException):
        pass

    real, done = Checkpoints.write, []

    def write_then_die(self, entries, pieces, about):
        real(self, entries, pieces, about)
        done.append(about)
        if len(done) == updates:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "is_due", lambda self: True)
        patched.setattr(Checkpoints, "write", write_then_die)
        with pytest.raises(Killed):
            run(project, name, **settings)


@pytest.mark.parametrize("updates", [1, 2, 3, 4, 5, 7, 8, 11])
def test_a_killed_training_goes_on_to_the_same_bits(project, monkeypatch, updates):
    """Three updates an epoch, and a checkpoint after its row: killed anywhere in and between epochs.

    After the seventh and eighth the rate drops, for which the velocities must know the rate they were built up with.
    """
    whole = (run(project, "whole") / "weights.safetensors").read_bytes()
    history = pd.read_csv(project / "whole/history.csv").drop(columns=TIMED)
    (project / "whole/weights.safetensors").unlink()
    kill_after(project, monkeypatch, updates)
    resumed = run(project, "whole")
    assert (resumed / "weights.safetensors").read_bytes() == whole
    pd.testing.assert_frame_equal(pd.read_csv(resumed / "history.csv").drop(columns=TIMED), history)


@pytest.mark.parametrize("quality", [None, 90])
def test_who_reads_and_from_where_does_not_change_a_bit(tmp_path, monkeypatch, quality):
    project = make_project(tmp_path, quality=quality)
    weights, predictions = [], []
    for readers, memory in ((1, None), (0, None), (3, None), (2, 0)):
        monkeypatch.setattr(reading, "available_memory", lambda memory=memory: memory)
        folder = run(project, setup=train.Setup("cpu", 1, readers=readers))
        weights.append((folder / "weights.safetensors").read_bytes())
        predictions.append(predicted(project, "val", readers=readers).ten.top_probs.tobytes())
    assert len(set(weights)) == len(set(predictions)) == 1


@pytest.mark.parametrize("by", ["paper", "code2012"])
def test_a_killed_training_goes_on_under_every_schedule(project, monkeypatch, by):
    """The plateau rule decides from the history, the ledger freezes conv1 and changes rates on the way."""
    settings = {"by": by, "epochs": 5, "schedule": protocol(by).schedule.model_dump()}
    if by == "paper":
        settings["schedule"] |= {"patience": 1, "drops": 2}
    whole = (run(project, "whole", **settings) / "weights.safetensors").read_bytes()
    kill_after(project, monkeypatch, 10, **settings)
    assert (run(project, "whole", **settings) / "weights.safetensors").read_bytes() == whole


SCRIPT = """
import sys
from pathlib import Path
from alexnet.data import checkpoint
checkpoint.LEAST_PAUSE_S = checkpoint.WORTH = 0.0
from tests.unit.stages.test_train import run
run(Path(sys.argv[1]), "net", epochs=12)
"""


def start_script(project):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(project)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip


def wait_for_checkpoint(project, process, newer_than=0):
    end = time.monotonic() + 120
    while True:
        files = list((project / ".ckpt").glob(f"*/{FILE}")) if (project / ".ckpt").exists() else []
        if files and files[0].stat().st_mtime_ns > newer_than:
            return files[0].stat().st_mtime_ns
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.002)


def test_sigkill_at_any_moment_leaves_what_ends_in_the_same_bits(project):
    """A process writes a checkpoint after each update and is killed three times, wherever it is just then."""
    whole = (run(project, "net", epochs=12) / "weights.safetensors").read_bytes()
    (project / "net/weights.safetensors").unlink()
    written = 0
    for pause in (0.0, 0.013, 0.031):
        process = start_script(project)
        written = wait_for_checkpoint(project, process, written)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start_script(project)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "train net: going on at epoch" in printed
    assert (project / "net/weights.safetensors").read_bytes() == whole


def test_sigterm_writes_a_checkpoint_after_the_update_and_leaves(project):
    process = start_script(project)
    wait_for_checkpoint(project, process)
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "train net: SIGTERM: checkpoint written after epoch" in printed and errors.count("Traceback") == 0
    with open_tensors(next((project / ".ckpt").glob(f"*/{FILE}"))) as stored:
        place = f"epoch {stored.about['epoch'] + 1}, update {stored.about['batch']}, leaving"
    assert place in printed
    assert not (project / "net").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_obeyed_after_the_very_update_under_way(project, monkeypatch, number):
    real, done = train.Trainer.step, []

    def step(self, *arguments):
        done.append(1)
        if len(done) == 2:
            os.kill(os.getpid(), number)
        return real(self, *arguments)

    monkeypatch.setattr(train.Trainer, "step", step)
    with pytest.raises(SystemExit) as left:
        run(project)
    assert left.value.code == 128 + number and len(done) == 2
    with open_tensors(next((project / ".ckpt").glob(f"*/{FILE}"))) as stored:
        assert (stored.about["epoch"], stored.about["batch"]) == (0, 2)


def test_a_checkpoint_of_another_configuration_is_named_and_not_taken_up(project, monkeypatch, capsys):
    alone = (run(project, "net", seed=2) / "weights.safetensors").read_bytes()
    kill_after(project, monkeypatch, 1, "net", seed=1, lr=0.004)
    capsys.readouterr()
    assert (run(project, "net", seed=2) / "weights.safetensors").read_bytes() == alone
    assert (
        "belongs to another configuration (seed is 1 there and 2 here; protocol.lr is 0.004 there and 0.003 here)"
        in (capsys.readouterr().out)
    )
    assert len(list((project / ".ckpt").iterdir())) == 1


def test_a_checkpoint_put_in_anothers_place_is_refused(project, monkeypatch):
    kill_after(project, monkeypatch, 1, "net", seed=1)
    (left,) = (project / ".ckpt").iterdir()
    kill_after(project, monkeypatch, 1, "net", seed=2)
    (other,) = set((project / ".ckpt").iterdir()) - {left}
    (left / FILE).replace(other / FILE)
    with pytest.raises(
        UserError, match=r"belongs to another configuration, found seed is 1 there and 2 here. Delete it"
    ):
        run(project, "net", seed=2)


def test_a_checkpoint_cut_short_is_refused(project, monkeypatch):
    kill_after(project, monkeypatch, 1, "net")
    file = next((project / ".ckpt").glob(f"*/{FILE}"))
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(UserError, match="is no whole safetensors file"):
        run(project, "net")


def test_differences_are_named_by_their_path():
    there, here = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 9}, "e": 4}
    assert find_differences(there, here) == [
        "a.c is 2 there and 9 here", "d is 3 there and nothing here", "e is nothing there and 4 here",
    ]  # fmt: skip


def test_fine_tuning_starts_from_every_layer_but_the_last(project):
    start = run(project, "start", "six_conv")
    tuned = run(project, "tuned", "six_conv", "start/weights.safetensors", lr=1e-12, seed=9)
    before, after = (read_tensors(folder / "weights.safetensors").tensors for folder in (start, tuned))
    assert (after["conv6.weight"] - before["conv6.weight"]).abs().max() < 1e-6
    assert (after["fc8.weight"] - before["fc8.weight"]).abs().max() > 1e-3
    assert "fc7.weight" in json.loads((tuned / "record.json").read_text())["copied_from_start"]


def test_a_chain_hands_on_its_convolutions_alone(project):
    run(project, "start", "two_columns")
    tuned = run(project, "tuned", "six_conv", "start/weights.safetensors", start_layers="convs", lr=1e-12)
    copied = json.loads((tuned / "record.json").read_text())["copied_from_start"]
    assert {name.split(".")[0] for name in copied} == {"conv1", "conv2", "conv3", "conv4", "conv5"}


def test_a_start_of_another_variant_is_a_users_mistake(project):
    run(project, "start", "six_conv")
    with pytest.raises(
        UserError, match=r"members.net.start: does not fit its variant: conv6.(bias|weight) is"
    ):
        run(project, "net", "two_columns", "start/weights.safetensors")


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_rate(project):
    with pytest.raises(
        UserError,
        match=r"member net: the loss is no longer a number at update \d+, .*found lr 1e\+20.*Updates were too large: lower lr",
    ):
        run(project, lr=1e20)
    assert not (project / "net").exists()


def test_a_loss_that_stays_at_guessing_stops_the_run_and_names_the_switch(project):
    """ln 4 = 1.386. With a deviation of 1e-4 the images are lost on their way through the network."""
    tiny = dict.fromkeys(("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"), 1e-4)
    with pytest.raises(
        UserError,
        match=r"member net: the loss stays at that of guessing, ln\(4\) = 1.386, at update 6, for 6 updates.*Raise init_std",
    ):
        run(project, init_std=tiny, stuck_after=6, lr=1e-4)
    assert not (project / "net").exists()


def test_a_loss_that_falls_is_not_stopped(project):
    run(
        project,
        stuck_after=60,
        epochs=40,
        lr=0.005,
        init_std=dict.fromkeys(("conv3", "conv4", "conv5"), 0.03),
    )


def test_a_unit_mix_up_in_the_statistics_is_refused(project):
    file = project / "stats/rgb_pca.json"
    about = json.loads(file.read_text())
    about["stddev"] = [sd**2 + 1000 for sd in about["stddev"]]
    file.write_text(json.dumps(about))
    with pytest.raises(UserError, match="give square roots of the eigenvalues"):
        run(project)


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


def test_settings_that_promise_no_equal_bytes_say_so_in_the_record(project):
    folder = run(project, setup=train.Setup("cpu", 1, is_channels_last=True))
    about = json.loads((folder / "record.json").read_text())["machine"]
    assert about["channels_last"] and "equal bytes from equal runs are not promised" in about["note"]


@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), max_size=4),
    wide=st.booleans(),
    about=st.dictionaries(st.text(max_size=5), st.integers()),
)
def test_files_of_tensors_are_those_of_the_library(tmp_path_factory, shapes, wide, about):
    dtype = torch.float64 if wide else torch.float32
    tensors = {f"t{place}": torch.randn(shape, dtype=dtype) for place, shape in enumerate(shapes)}
    folder = tmp_path_factory.mktemp("tensors")
    write_tensors(folder / "ours", tensors, about)
    loaded = load_file(folder / "ours")
    with (folder / "ours").open("rb") as file:
        assert int.from_bytes(file.read(8), "little") % 8 == 0  # so values are aligned in memory maps
    assert loaded.keys() == tensors.keys() and all(
        torch.equal(loaded[name], tensors[name]) for name in tensors
    )
    save_file(tensors, folder / "theirs", metadata={"alexnet": json.dumps(about)})
    stored = read_tensors(folder / "theirs")
    assert stored.about == about and all(torch.equal(stored.tensors[name], tensors[name]) for name in tensors)


def test_a_file_of_tensors_that_fails_on_the_way_is_not_there(tmp_path):
    def pieces():
        yield torch.zeros(2)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_stream(tmp_path / "file", [Entry("a", (4,), torch.float32)], pieces(), {})
    assert not list(tmp_path.iterdir())


def predicted(project, split, batch=5, keep=1000, features=None, readers=1):
    folder = run(project) if not (project / "net").exists() else project / "net"
    output = project / f"{split}.parquet"
    predict.run(
        "net", split, PredictParams(batch=batch, store_probs_up_to=keep), "made", project / "data", project / "stats",
        folder / "weights.safetensors", output, device_name="cpu", threads=1, readers=readers, features=features,
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


def test_features_of_fc7_are_written_on_request_in_the_order_of_the_predictions(project):
    few, many = project / "few.npy", project / "many.npy"
    predictions = predicted(project, "val", batch=5, features=few)
    predicted(project, "val", batch=12, features=many)
    features = np.load(few)
    made, _ = read_network(project / "net/weights.safetensors")
    assert (
        features.shape == (12, made.fc7.out_features)
        and features.dtype == np.float32
        and (features >= 0).all()
    )
    np.testing.assert_allclose(features, np.load(many), rtol=1e-4, atol=1e-4)
    logits = torch.from_numpy(features) * 0.5 @ made.fc8.weight.T + made.fc8.bias
    best = logits.softmax(1).max(1).values.detach().numpy()
    np.testing.assert_allclose(best, predictions.centre.top_probs[:, 0], rtol=1e-4)
