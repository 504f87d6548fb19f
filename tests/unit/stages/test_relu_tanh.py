"""The stage of Figure 1 on a few drawn images: against a plain twin, and the files it writes."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from alexnet.core.cifar_net import CifarNet, initialize
from alexnet.core.draws import image_order
from alexnet.core.epochs import epochs_to
from alexnet.core.figure_params import RatesTried, ReluTanhParams
from alexnet.data.shards import open_split
from alexnet.errors import UserError
from alexnet.stages import relu_tanh
from tests.unit.stages.made_data import SIDE, make_data

MEAN = np.full((SIDE, SIDE, 3), 120.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relu")
    make_data(folder / "data", train=24)
    (folder / "stats").mkdir()
    np.save(folder / "stats/mean_image.npy", MEAN)
    (folder / "stats/rgb_pca.json").write_text(
        json.dumps({"stddev": [1, 1, 1], "eigenvectors": [[1, 0, 0]] * 3})
    )
    return folder


def params(**changes):
    plain = {
        "classes": 3, "rates": RatesTried(relu=[0.003, 0.001], tanh=[0.01]), "choice_seeds": [7],
        "seeds": [1, 2], "batch": 4, "momentum": 0.9, "max_epochs": 4, "target": 0.25,
    }  # fmt: skip
    return ReluTanhParams(**{**plain, **changes})


def run(folders, output, **changes):
    relu_tanh.run(
        "made", params(**changes), folders / "data", folders / "stats", output, device_name="cpu", threads=1
    )
    return pd.read_csv(output / "history.csv"), json.loads((output / "choice.json").read_text())


@pytest.fixture(scope="module")
def made(folders):
    return (*run(folders, folders / "out"), folders / "out")


def twin(folders, activation, lr, seed, epochs):
    """Errors of epochs by momentum descent written out, images of the first three classes alone."""
    split = open_split(folders / "data", "train")
    chosen = np.flatnonzero(split.labels < 3)
    net = CifarNet(activation, 3, SIDE)
    initialize(net, seed)
    speeds = [torch.zeros_like(parameter) for parameter in net.parameters()]
    errors = []
    for epoch in range(epochs):
        order, wrong = chosen[image_order(seed, epoch, len(chosen))], 0
        for start in range(0, len(order), 4):
            indices = order[start : start + 4]
            images = torch.from_numpy((split.read(indices) - MEAN).astype(np.float32)).permute(0, 3, 1, 2)
            labels = torch.from_numpy(split.labels[indices])
            logits = net(images)
            wrong += int((logits.argmax(1) != labels).sum())
            gradients = torch.autograd.grad(F.cross_entropy(logits, labels), list(net.parameters()))
            with torch.no_grad():
                for parameter, speed, gradient in zip(net.parameters(), speeds, gradients, strict=True):
                    speed.mul_(0.9).add_(gradient)
                    parameter.sub_(lr * speed)
        errors.append(wrong / len(order))
    return errors


def test_trains_as_written_out(folders, made):
    history, choice, _ = made
    for activation in ("relu", "tanh"):
        rows = history[(history.activation == activation) & (history.seed == 2)]
        expected = twin(folders, activation, choice[activation]["lr"], 2, len(rows))
        assert rows.train_top1_error.tolist() == pytest.approx(expected)
        assert rows.epoch.tolist() == list(range(1, len(rows) + 1))


def test_says_what_was_chosen_and_how_many_times_as_long_tanh_takes(made):
    history, choice, output = made
    assert (choice["data"], choice["num_images"], choice["num_classes"]) == ("made", 18, 3)
    assert choice["num_parameters"] == CifarNet("relu", 3, SIDE).num_parameters
    tried = pd.read_csv(output / "choice.csv")
    assert set(tried.seed) == {7} and set(history.seed) == {1, 2}
    assert set(tried[tried.activation == "relu"].lr) == {0.003, 0.001}
    for activation in ("relu", "tanh"):
        rows = history[history.activation == activation]
        assert set(rows.lr) == {choice[activation]["lr"]}
        expected = [epochs_to(one.train_top1_error.tolist(), 0.25) for _, one in rows.groupby("seed")]
        assert choice[activation]["epochs"] == expected
        ends = rows.groupby("seed").train_top1_error
        assert (
            ends.nth(-1) <= 0.25
        ).all() or ends.count().max() == 4  # it stops at the target, or at the end
        assert all((one.train_top1_error.iloc[:-1] > 0.25).all() for _, one in rows.groupby("seed"))


def test_the_nets_that_count_have_the_rate_that_was_chosen(folders, tmp_path):
    """One that changes no weight to speak of comes first: it cannot win."""
    history, choice = run(folders, tmp_path / "out", rates=RatesTried(relu=[1e-9, 0.003], tanh=[1e-9, 0.01]))
    assert (choice["relu"]["lr"], choice["tanh"]["lr"]) == (0.003, 0.01)
    assert history.groupby("activation").lr.unique().map(list).to_dict() == {"relu": [0.003], "tanh": [0.01]}


def test_equal_runs_write_equal_bytes(folders, made, tmp_path):
    run(folders, tmp_path / "again")
    for name in ("history.csv", "choice.csv", "choice.json"):
        assert (tmp_path / "again" / name).read_bytes() == (made[2] / name).read_bytes()


def test_no_ratio_where_a_net_does_not_get_there():
    assert relu_tanh.epoch_ratio([8.0, 18.0], [4.0, 4.5]) == pytest.approx(8**0.5)
    assert relu_tanh.epoch_ratio([8.0, None], [4.0, 4.5]) is None


def test_a_rate_that_cannot_win_any_more_is_given_up():
    asked = []

    def train(activation, lr, seed, most):
        asked.append((lr, seed, most))
        needed = {0.1: 3, 0.2: 9, 0.3: 2}[lr]
        return tuple([0.9] * (needed - 1) + [0.25])[:most]

    both = params(rates=RatesTried(relu=[0.1, 0.2, 0.3], tanh=[0.1]), choice_seeds=[7, 8], max_epochs=20)
    trials = relu_tanh.try_rates(both, "relu", train)
    assert asked == [(0.1, 7, 20), (0.1, 8, 20), (0.2, 7, 6), (0.3, 7, 6), (0.3, 8, 4)]
    assert [trial.epochs(0.25) for trial in trials] == [3, None, 2]
    assert [trial.is_given_up for trial in trials] == [False, True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"classes": 5}, "relu_tanh.made.classes: more than there are, found 5, expected at most 4")],
)
def test_what_does_not_fit_the_data_is_refused_and_leaves_what_was_there(folders, tmp_path, changes, message):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/choice.json").write_text("earlier")
    with pytest.raises(UserError, match=message):
        run(folders, tmp_path / "out", **changes)
    assert (tmp_path / "out/choice.json").read_text() == "earlier"
