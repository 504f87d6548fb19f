from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from alexnet import params
from alexnet.configure import configure, merge, read_profile
from alexnet.errors import UserError
from tests.unit.data.made_archives import write_zip

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project: its configs alone."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def archives(folder: Path) -> Path:
    """A folder that holds files with the names of ILSVRC-2012's archives."""
    place = folder / "far" / "ilsvrc2012"
    place.mkdir(parents=True)
    for name in ("img_train.tar", "img_val.tar", "devkit_t12.tar.gz", "img_test.tar"):
        (place / f"ILSVRC2012_{name}").touch()
    return place


def test_demo_is_what_is_committed() -> None:
    configure("demo", {})
    assert Path("params.yaml").read_text() == (ROOT / "params.yaml").read_text()


def test_comments_of_the_base_are_kept_and_each_member_stays_one_line() -> None:
    configure("demo", {})
    lines = Path("params.yaml").read_text().splitlines()
    assert any("# shorter side" in line for line in lines)
    for name in params.load().members:
        (line,) = [line for line in lines if line.startswith(f"  {name}: {{group: ")]
        assert line.endswith("}")


def test_a_data_set_without_a_source_is_left_out_with_its_members(archives: Path) -> None:
    configure("imagenet", {"ilsvrc2012": str(archives)})
    loaded = params.load()
    assert loaded.datasets.names() == ["ilsvrc2012"]
    assert list(loaded.members) == ["cnn1", "cnn2", "cnn3", "cnn4", "cnn5"]
    assert loaded.left_out == {
        name: f"no source was given (--data {name}=PATH)" for name in ("ilsvrc2010", "fall2011", "fall2009")
    }
    assert Path("inputs/ilsvrc2012").readlink() == archives


def test_entries_go_with_the_data_and_members_they_need() -> None:
    Path("photos/train/n01440764").mkdir(parents=True)
    configure("imagenet", {"ilsvrc2010": "photos"})
    loaded = params.load()
    assert list(loaded.ablations) == ["half"] and not loaded.neighbours and not loaded.relu_tanh
    configure("cifar10", {"cifar10": str(_write_cifar10())})
    loaded = params.load()
    assert list(loaded.relu_tanh) == loaded.datasets.names() == ["cifar10"]
    assert not loaded.members and not loaded.ablations


def _write_cifar10() -> Path:
    """A zip laid out as CIFAR-10's classes are, with none of its images."""
    members = {f"{split}/{name}/1.jpg": b"an image" for split in ("train", "test") for name in ("cat", "dog")}
    write_zip(Path("cifar10.zip"), members)
    return Path("cifar10.zip")


def test_a_member_is_left_out_with_the_one_it_starts_from(folder: Path, archives: Path) -> None:
    profile = {"members": {"cnn5": {"start": "finetuned1"}, "cnn4": {"start": "cnn5"}}}
    Path("configs/chain.yaml").write_text(yaml.safe_dump(profile))
    configure("chain", {"ilsvrc2012": str(archives)})
    assert list(params.load().members) == ["cnn1", "cnn2", "cnn3"]


def test_a_folder_per_class_is_recognized(folder: Path) -> None:
    for split in ("train", "val"):
        (folder / "photos" / split / "n01440764").mkdir(parents=True)
    configure("imagenet", {"ilsvrc2012": "photos"})
    source = params.load().datasets.ilsvrc["ilsvrc2012"].source
    assert (source.kind, source.path) == ("folder", "inputs/ilsvrc2012")


@pytest.mark.parametrize("top", ["", "cifar10/"])
def test_a_zip_of_class_folders_is_recognized(folder: Path, top: str) -> None:
    members = {
        f"{top}{split}/{name}/1.jpg": b"an image" for split in ("train", "test") for name in ("cat", "dog")
    }
    write_zip(folder / "classes.zip", members)
    configure("imagenet", {"ilsvrc2012": "classes.zip", "fall2011": "classes.zip"})
    datasets = params.load().datasets
    assert datasets.ilsvrc["ilsvrc2012"].source.kind == datasets.fall["fall2011"].source.kind == "folder"
    assert datasets.fall["fall2011"].split == "as_archived"


def test_cifar10_is_recognized_by_its_archive(folder: Path) -> None:
    (folder / "cifar-10-binary.tar.gz").touch()
    configure("imagenet", {"ilsvrc2012": "cifar-10-binary.tar.gz"})
    source = params.load().datasets.ilsvrc["ilsvrc2012"].source
    assert (source.kind, source.md5) == (
        "cifar10", {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
    )  # fmt: skip


def test_one_archive_may_serve_two_data_sets(folder: Path) -> None:
    (folder / "tiny.zip").touch()
    configure("tiny-imagenet", {"tiny-imagenet": "tiny.zip"})
    loaded = params.load()
    assert loaded.datasets.names() == ["ilsvrc2012", "fall2011"]
    assert {"cnn1", "pretrained1", "finetuned1"} <= set(loaded.members)
    assert Path("inputs/tiny-imagenet").readlink() == folder / "tiny.zip"


def test_a_link_is_replaced(folder: Path, archives: Path) -> None:
    configure("imagenet", {"ilsvrc2012": str(archives)})
    moved = archives.rename(folder / "moved")
    configure("imagenet", {"ilsvrc2012": str(moved)})
    assert Path("inputs/ilsvrc2012").readlink() == moved
    assert [path.name for path in Path("inputs").iterdir()] == ["ilsvrc2012"]


def test_what_earlier_parameters_made_goes_where_stages_read_whole_folders(archives: Path) -> None:
    kept = [Path("work/held_out/ilsvrc2012.parquet"), Path("work/predictions/ilsvrc2012/cnn1/val.parquet")]
    kept += [Path("work/ablations/no_lrn/1/val.parquet"), Path("work/neighbours/cnn1/shown.npy")]
    gone = [
        Path("work/held_out/ilsvrc2010.parquet"),
        Path("work/predictions/ilsvrc2012/finetuned1/val.parquet"),
        Path("work/ablations/half/10/val.parquet"),
        Path("work/relu_tanh/cifar10/choice.json"),
        Path("work/neighbours/cnn9/shown.npy"),
    ]
    for file in [*kept, *gone]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    configure("imagenet", {"ilsvrc2012": str(archives)})
    assert all(file.exists() for file in kept)
    assert not any(file.exists() for file in gone)


def test_null_removes_a_key_and_a_kind_replaces_a_whole_mapping() -> None:
    base = read_profile("imagenet")
    merge(base, {"prepare": {"seed": None, "resize": 64}})
    assert set(base["prepare"]) == {"resize", "interpolation", "quality", "shard_images", "store"}
    merge(base["datasets"]["ilsvrc"]["ilsvrc2012"], {"source": {"kind": "folder", "path": "x"}})
    assert base["datasets"]["ilsvrc"]["ilsvrc2012"]["source"] == {"kind": "folder", "path": "x"}


@pytest.mark.parametrize(
    ("profile", "data", "message"),
    [
        (
            "imagenett",
            {},
            "no such profile, found imagenett, expected cifar10, demo, imagenet, tiny-imagenet",
        ),
        ("demo", {"ilsvrc2012": "."}, "profile demo has no use for it, found ilsvrc2012"),
        ("imagenet", {}, "no data set has a source, expected at least one of --data ilsvrc2010=PATH"),
        (
            "imagenet",
            {"ilsvrc2013": "."},
            "found ilsvrc2013, expected one of ilsvrc2010, ilsvrc2012, fall2011, fall2009",
        ),
        ("imagenet", {"ilsvrc2012": "nowhere"}, "--data ilsvrc2012: does not exist, found nowhere"),
        ("imagenet", {"ilsvrc2012": "empty"}, "--data ilsvrc2012: is an empty folder, found empty"),
        ("imagenet", {"ilsvrc2012": "."}, "missing archive ILSVRC2012_img_train.tar"),
        ("mistyped", {}, "params.yaml: prepare.resise: unknown key. Did you mean resize?"),
        ("broken", {}, "configs/broken.yaml: is no YAML"),
    ],
)
def test_a_mistake_leaves_params_and_links_as_they_were(
    folder: Path, profile: str, data: dict[str, str], message: str
) -> None:
    configure("demo", {})
    before = Path("params.yaml").read_bytes()
    (folder / "empty").mkdir()
    Path("configs/mistyped.yaml").write_text(
        (ROOT / "configs/demo.yaml").read_text().replace("resize:", "resise:")
    )
    Path("configs/broken.yaml").write_text("prepare: [\n")
    if profile == "imagenett":
        for name in ("mistyped", "broken"):
            Path(f"configs/{name}.yaml").unlink()
    with pytest.raises(UserError) as caught:
        configure(profile, data)
    assert message in str(caught.value)
    assert Path("params.yaml").read_bytes() == before
    assert not Path("inputs").exists()


def test_a_real_folder_in_the_place_of_a_link_is_not_touched(archives: Path) -> None:
    Path("inputs/ilsvrc2012").mkdir(parents=True)
    with pytest.raises(UserError, match=r"inputs/ilsvrc2012: is no link\. Move it away"):
        configure("imagenet", {"ilsvrc2012": str(archives)})
    assert not Path("params.yaml").exists()
