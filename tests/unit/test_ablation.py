from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from alexnet import params
from alexnet.ablation import Ablation
from alexnet.cli import main
from alexnet.data.predictions import read_predictions
from alexnet.data.weights import read_network, write_tensors
from alexnet.errors import UserError
from alexnet.machine import Machine, Plan
from alexnet.stages import predict, rgb_pca, train
from tests.unit.stages.made_data import make_data

DEMO = Path(__file__).parents[2] / "params.yaml"
LINE = {
    "base": "cnn", "data": "ilsvrc2012", "split": "val", "variant": "no_lrn", "protocol": "default",
    "overrides": {"epochs": 1}, "seeds": [3, 5],
}  # fmt: skip


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> params.AllParams:
    """A project with a few prepared images and one ablation of two seeds."""
    monkeypatch.chdir(tmp_path)
    make_data(Path("work/data/ilsvrc2012"))
    rgb_pca.run(Path("work/data/ilsvrc2012"), Path("work/stats/ilsvrc2012"))
    Path("work/models/scratch").mkdir(parents=True)
    write_tensors(Path("work/models/scratch/weights.safetensors"), {}, {})
    data = yaml.safe_load(DEMO.read_text())
    data["ablations"] = {"no_lrn": LINE}
    Path("params.yaml").write_text(yaml.safe_dump(data))
    return params.load()


def _ablation(loaded: params.AllParams) -> Ablation:
    return Ablation("no_lrn", loaded, Machine(device="cpu"), Plan("none", 1, 0, 1))


def test_each_seed_has_its_net_and_predictions(loaded: params.AllParams) -> None:
    assert _ablation(loaded).run([]) == 0
    for seed in (3, 5):
        folder = Path("work/ablations/no_lrn") / str(seed)
        network, num_classes = read_network(folder / "weights.safetensors")
        assert num_classes == 4 and not any(layer.lrn for layer in network.layers)
        assert len(pd.read_csv(folder / "history.csv")) == 1
        predictions = read_predictions(folder / "val.parquet")
        assert (predictions.member, len(predictions.keys)) == (f"no_lrn-{seed}", 12)
    assert not Path("work/unfinished/ablations/no_lrn").exists()


def test_finished_seeds_are_not_trained_again(
    loaded: params.AllParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    real_train, real_predict = train.run, predict.run

    def note(member: str, *arguments: Any) -> None:
        trained.append(member)
        real_train(member, *arguments)

    def stop_at_5(member: str, *arguments: Any, **settings: Any) -> None:
        if member == "no_lrn-5":
            raise KeyboardInterrupt
        real_predict(member, *arguments, **settings)

    monkeypatch.setattr(train, "run", note)
    with monkeypatch.context() as killed:
        killed.setattr(predict, "run", stop_at_5)
        with pytest.raises(KeyboardInterrupt):
            _ablation(loaded).run([])
    assert not Path("work/ablations").exists()
    _ablation(loaded).run([])
    assert trained == ["no_lrn-3", "no_lrn-5", "no_lrn-5"]
    _ablation(loaded).run([])  # asked for again once whole, it makes everything anew
    assert trained[3:] == ["no_lrn-3", "no_lrn-5"]


def test_seed_of_other_parameters_is_trained_again(
    loaded: params.AllParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr("alexnet.ablation.replace_folder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            _ablation(loaded).run([])
    line = loaded.ablations["no_lrn"].model_copy(update={"overrides": {"epochs": 2}, "seeds": [5]})
    _ablation(loaded.model_copy(update={"ablations": {"no_lrn": line}})).run([])
    assert [path.name for path in Path("work/ablations/no_lrn").iterdir()] == ["5"]
    assert len(pd.read_csv("work/ablations/no_lrn/5/history.csv")) == 2


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"base": "cnns"}, "ablations.no_lrn.base: names what does not exist, found cnns"),
        ({"variant": "no_lnr"}, "Did you mean no_lrn?"),
        ({"protocol": "defualt"}, "Did you mean default?"),
        ({"data": "ilsvrc2014"}, "ablations.no_lrn.data: names what does not exist"),
        ({"seeds": []}, "ablations.no_lrn.seeds"),
        ({"seeds": [1, 1]}, "seeds must differ from each other"),
        ({"split": "train"}, "ablations.no_lrn.split"),
        ({"overrides": {"crop": 99}}, "ablation no_lrn crops more than there is, found 99"),
        ({"overrides": {"croop": 9}}, "ablations.no_lrn.overrides.croop: unknown key. Did you mean crop?"),
    ],
)
def test_mistake_in_an_entry_is_one_clear_message(change: dict[str, Any], text: str) -> None:
    data = yaml.safe_load(DEMO.read_text())
    data["ablations"] = {"no_lrn": {**LINE, **change}}
    with pytest.raises(UserError) as caught:
        params.check(data)
    assert text in str(caught.value)


def test_unknown_ablation_is_refused(loaded: params.AllParams, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "no_lnr"]) == 1
    assert "ablations, asked for no_lnr: names what does not exist" in capsys.readouterr().err
