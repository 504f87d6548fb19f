"""A small training looked at, whole: every figure is there, and nothing is written."""

import pytest

from alexnet.errors import UserError
from alexnet.stages import doctor
from tests.unit.core.made_networks import NARROW, network, protocol
from tests.unit.stages.made_data import SIDE
from tests.unit.stages.test_train import SHORT, make_project


def look_at(project, readers=1, **changes):
    return doctor.run(
        "net", "made", 1, network(**NARROW), protocol(**{**SHORT, **changes}), project / "data", project / "stats",
        doctor.Setup("cpu", 1, readers), seconds=0.05,
    )  # fmt: skip


@pytest.mark.parametrize(("readers", "quality"), [(0, None), (1, 90)])
def test_a_member_is_measured_and_no_file_changes(tmp_path, readers, quality):
    project = make_project(tmp_path, quality=quality)
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    found = look_at(project, readers)
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before
    assert (found.images, found.side, found.batch, found.fits) == (40, SIDE, 16, True)
    assert found.store == ("jpeg" if quality else "raw")
    if not quality:
        assert found.bytes == found.raw_bytes == 40 * SIDE * SIDE * 3
        per_image = [
            rate.bytes_per_s / rate.images_per_s for rate in (found.first, found.again, found.together)
        ]
        assert per_image == pytest.approx([32 * SIDE * 3] * 3)  # the crop's rows
    assert 0 < found.together.waited < 1 and found.update.images_per_s > 0


def test_a_crop_larger_than_the_images_is_refused(tmp_path):
    with pytest.raises(
        UserError, match="net cannot be trained on it, found 40 images of 36 pixels, expected images of 40"
    ):
        look_at(make_project(tmp_path), crop=40)
