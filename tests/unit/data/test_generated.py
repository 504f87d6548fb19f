"""The generated archives are laid out as the official ones, odd files included, and always the same."""

import gzip
import hashlib
import io
import re
import tarfile

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from scipy.io import loadmat

from alexnet.core.synset_tree import list_classes
from alexnet.data.generated import GeneratedSource, generate
from alexnet.errors import UserError

CONTESTS = ["ilsvrc2010", "ilsvrc2012"]
FALLS = ["fall2011", "fall2009"]
NAMES = {
    "ilsvrc2010": ("ILSVRC2010_images_{}.tar", "ILSVRC2010_devkit-1.0.tar.gz", "devkit-1.0/data/"),
    "ilsvrc2012": ("ILSVRC2012_img_{}.tar", "ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_devkit_t12/data/"),
}


def make_source(dataset, **changes):
    splits = {"val": 3, "test": 2} if dataset in CONTESTS else {"val": 0, "test": 0}
    values = {"kind": "generated", "path": "here.py", "seed": 7, "shorter_side": [36, 72], "train": 4}
    return GeneratedSource(**{**values, **splits, **changes})


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    root = tmp_path_factory.mktemp("generated")
    for dataset in CONTESTS + FALLS:
        (root / dataset).mkdir()
        generate(dataset, make_source(dataset), root / dataset)
    return root


def read_tar(path_or_bytes):
    stream = io.BytesIO(path_or_bytes) if isinstance(path_or_bytes, bytes) else path_or_bytes.open("rb")
    with stream, tarfile.open(fileobj=stream) as archive:
        return {header.name: archive.extractfile(header).read() for header in archive}


def read_train(archives, dataset):
    """Content of each training image, by wnid and file name."""
    if dataset in FALLS:
        return {path.stem: read_tar(path) for path in (archives / dataset).glob("*.tar")}
    inner = read_tar(archives / dataset / NAMES[dataset][0].format("train"))
    return {name.removesuffix(".tar"): read_tar(content) for name, content in inner.items()}


def read_split(archives, dataset, split):
    return read_tar(archives / dataset / NAMES[dataset][0].format(split))


def read_devkit(archives, dataset):
    _, archive, folder = NAMES[dataset]
    files = read_tar(archives / dataset / archive)
    return {name.removeprefix(folder): content for name, content in files.items()}


def read_pixels(content):
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def all_images(archives, dataset):
    images = [content for files in read_train(archives, dataset).values() for content in files.values()]
    for split in ("val", "test") if dataset in CONTESTS else ():
        images += read_split(archives, dataset, split).values()
    return images


@pytest.mark.parametrize("dataset", CONTESTS)
def test_a_contest_has_its_five_files(archives, dataset):
    images, devkit, _ = NAMES[dataset]
    names = {images.format(split) for split in ("train", "val", "test")}
    names |= {devkit, f"{dataset.upper()}_test_ground_truth.txt"}
    assert {path.name for path in (archives / dataset).iterdir()} == names


@pytest.mark.parametrize("dataset", FALLS)
def test_a_fall_release_has_a_tar_for_each_synset_and_a_list_of_words(archives, dataset):
    wnids = {synset.wnid for synset in list_classes(dataset)}
    assert {path.name for path in (archives / dataset).iterdir()} == {f"{w}.tar" for w in wnids} | {
        "words.txt"
    }
    lines = (archives / dataset / "words.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == sorted(wnids)
    assert all(line.split("\t")[1] for line in lines)


@pytest.mark.parametrize("dataset", CONTESTS + FALLS)
def test_training_images_are_named_by_wnid_and_numbers_with_gaps(archives, dataset):
    widths = set()
    for wnid, files in read_train(archives, dataset).items():
        numbers = [int(re.fullmatch(rf"{wnid}_([1-9]\d*)\.JPEG", name)[1]) for name in files]
        assert numbers == sorted(numbers)
        assert max(numbers) > len(numbers)
        widths |= {len(str(number)) for number in numbers}
    assert widths >= {1, 2, 3}


@pytest.mark.parametrize("dataset", CONTESTS + FALLS)
def test_each_class_has_the_asked_number_of_training_images_and_the_planted_one_comes_on_top(
    archives, dataset
):
    counts = [len(files) for files in read_train(archives, dataset).values()]
    planted = 1 if dataset == "fall2011" else 0
    assert sorted(counts) == [4] * (len(list_classes(dataset)) - planted) + [5] * planted


@pytest.mark.parametrize("dataset", CONTESTS)
@pytest.mark.parametrize(("split", "count"), [("val", 60), ("test", 40)])
def test_a_flat_tar_holds_numbered_images_out_of_order(archives, dataset, split, count):
    names = list(read_split(archives, dataset, split))
    assert sorted(names) == [f"{dataset.upper()}_{split}_{n:08d}.JPEG" for n in range(1, count + 1)]
    assert names != sorted(names)


@pytest.mark.parametrize("dataset", CONTESTS)
def test_the_truth_has_a_line_per_image_and_each_class_as_often(archives, dataset):
    year = dataset.upper()
    val = read_devkit(archives, dataset)[f"{year}_validation_ground_truth.txt"].split()
    test = (archives / dataset / f"{year}_test_ground_truth.txt").read_text().split()
    ids = range(1, 21)
    assert sorted(map(int, val)) == [i for i in ids for _ in range(3)]
    assert sorted(map(int, test)) == [i for i in ids for _ in range(2)]
    assert list(map(int, val)) != sorted(map(int, val))


def test_line_n_of_the_truth_belongs_to_the_nth_name(archives):
    # The planted image has devkit id 1 in one data set and is filed under the wnid of that class in the other.
    first = list_classes("ilsvrc2012")[0]
    planted = list(read_train(archives, "fall2011")[first.wnid].values())[-1]
    val = read_split(archives, "ilsvrc2012", "val")
    place = next(place for place, name in enumerate(sorted(val)) if val[name] == planted)
    truth = read_devkit(archives, "ilsvrc2012")["ILSVRC2012_validation_ground_truth.txt"].split()
    assert int(truth[place]) == 1


def load_meta(archives, dataset):
    return loadmat(io.BytesIO(read_devkit(archives, dataset)["meta.mat"]), squeeze_me=True)


@pytest.mark.parametrize("dataset", CONTESTS)
def test_meta_lists_classes_first_with_the_official_fields(archives, dataset):
    synsets = load_meta(archives, dataset)["synsets"]
    fields = "WNID words gloss num_children children wordnet_height num_train_images"
    assert synsets.dtype.names == (f"{dataset.upper()}_ID", *fields.split())
    assert synsets[f"{dataset.upper()}_ID"].tolist() == list(range(1, len(synsets) + 1))
    assert synsets["WNID"][:20].tolist() == [synset.wnid for synset in list_classes(dataset)]
    assert (synsets["num_children"][:20] == 0).all()
    assert (synsets["num_children"][20:] > 0).all()
    assert synsets["num_train_images"].tolist() == [4] * 20 + [0] * (len(synsets) - 20)


@pytest.mark.parametrize("dataset", CONTESTS)
def test_children_in_meta_make_one_tree_under_the_root(archives, dataset):
    rows = load_meta(archives, dataset)["synsets"]
    children = {i + 1: np.atleast_1d(row["children"]).astype(int).tolist() for i, row in enumerate(rows)}
    assert [len(children[i + 1]) for i in range(len(rows))] == rows["num_children"].tolist()
    below = sorted(child for some in children.values() for child in some)
    assert below == [i for i in range(1, len(rows) + 1) if i != 21]
    for i, row in enumerate(rows):
        heights = [rows[child - 1]["wordnet_height"] + 1 for child in children[i + 1]]
        assert row["wordnet_height"] == max(heights, default=0)


def test_meta_of_2010_alone_has_a_cost_matrix(archives):
    costs = load_meta(archives, "ilsvrc2010")["cost_matrix"]
    assert costs.dtype == np.uint8
    assert costs.shape == (20, 20)
    np.testing.assert_array_equal(costs == 0, np.eye(20, dtype=bool))
    assert "cost_matrix" not in load_meta(archives, "ilsvrc2012")


@pytest.mark.parametrize("dataset", CONTESTS + FALLS)
def test_every_image_decodes_with_its_shorter_side_as_asked_and_sizes_vary(archives, dataset):
    sizes = [read_pixels(content).shape[:2] for content in all_images(archives, dataset)]
    assert all(36 <= min(size) <= 72 for size in sizes)
    assert len(set(sizes)) > len(sizes) / 2


def describe_form(content):
    if content[:2] == b"\x1f\x8b":
        return "gzip"
    image = Image.open(io.BytesIO(content))
    return f"{image.format} {image.mode}"


def count_odd(contents):
    forms = [describe_form(content) for content in contents]
    return {form: forms.count(form) for form in sorted(set(forms) - {"JPEG RGB"})}


def test_ilsvrc2012_alone_has_the_real_oddities(archives):
    train = [c for files in read_train(archives, "ilsvrc2012").values() for c in files.values()]
    assert count_odd(train) == {"JPEG CMYK": 1, "JPEG L": 1, "PNG RGB": 1, "gzip": 1}
    assert count_odd(read_split(archives, "ilsvrc2012", "val").values()) == {"JPEG CMYK": 1}
    assert count_odd(read_split(archives, "ilsvrc2012", "test").values()) == {}
    for dataset in ("ilsvrc2010", *FALLS):
        assert count_odd(all_images(archives, dataset)) == {}


def test_one_image_alone_is_in_two_places_and_it_is_a_val_image_of_2012_in_fall2011(archives):
    seen = {}
    for dataset in CONTESTS + FALLS:
        for content in all_images(archives, dataset):
            seen.setdefault(hashlib.sha256(read_pixels(content).tobytes()).hexdigest(), []).append(dataset)
    assert [places for places in seen.values() if len(places) > 1] == [["ilsvrc2012", "fall2011"]]
    val = set(read_split(archives, "ilsvrc2012", "val").values())
    fall = {c for files in read_train(archives, "fall2011").values() for c in files.values()}
    assert len(val & fall) == 1


@pytest.mark.parametrize("dataset", CONTESTS + FALLS)
def test_archives_are_the_same_bytes_again_whatever_the_time(archives, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.asctime", lambda *_: "Wed May 18 05:33:20 2033")
    generate(dataset, make_source(dataset), tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        p.name: p.read_bytes() for p in (archives / dataset).iterdir()
    }


def test_more_images_leave_the_first_as_they_were(archives, tmp_path):
    generate("ilsvrc2012", make_source("ilsvrc2012", train=5, val=4), tmp_path / ".")
    more = read_tar(tmp_path / "ILSVRC2012_img_train.tar")
    for wnid, files in read_train(archives, "ilsvrc2012").items():
        assert list(read_tar(more[f"{wnid}.tar"]).items())[:4] == list(files.items())
    val = set(read_tar(tmp_path / "ILSVRC2012_img_val.tar").values())
    assert set(read_split(archives, "ilsvrc2012", "val").values()) < val


def test_another_seed_draws_other_images(archives, tmp_path):
    generate("fall2009", make_source("fall2009", seed=8), tmp_path)
    before = {c for files in read_train(archives, "fall2009").values() for c in files.values()}
    assert not before & {c for path in tmp_path.glob("*.tar") for c in read_tar(path).values()}


def test_headers_tell_no_time_and_no_owner(archives):
    for path in archives.rglob("*.tar"):
        with tarfile.open(path) as archive:
            assert {(h.mtime, h.uid, h.gid, h.uname, h.gname) for h in archive} == {(0, 0, 0, "", "")}


def test_no_val_and_test_images_make_empty_archives(tmp_path):
    generate("ilsvrc2010", make_source("ilsvrc2010", train=1, val=0, test=0), tmp_path)
    assert read_tar(tmp_path / "ILSVRC2010_images_val.tar") == {}
    assert (tmp_path / "ILSVRC2010_test_ground_truth.txt").read_text() == ""


def test_an_unknown_data_set_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"datasets\.mine\.source: only the paper's data sets can be generated, f.* mine"
    ):
        generate("mine", make_source("fall2009"), tmp_path)


def test_val_images_in_a_fall_release_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(
        UserError, match=r"fall2009\.source\.val: a Fall release has no splits, found 9, expected 0"
    ):
        generate("fall2009", make_source("fall2009", val=9), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shorter_side": [72, 36]}, "in that order"),
        ({"shorter_side": [4, 36]}, "at least 8"),
        ({"shorter_side": [36]}, "at least 2 items"),
        ({"train": 0}, "greater than or equal to 1"),
        ({"val": -1}, "greater than or equal to 0"),
        ({"clutter": 3}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_params_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        make_source("ilsvrc2012", **changes)
