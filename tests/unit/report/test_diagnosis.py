"""What the figures of a training mean: by hand."""

from dataclasses import replace

import pytest

from alexnet.report.diagnosis import Diagnosis, Machine, Rate, advise, as_data, render

CACHED = Rate(9_000.0, 1.5e9, 0.0)
COLD = Rate(1_200.0, 2.0e8, 1.0)
UPDATE = Rate(60.0, 0.0, 0.0)
FOUND = Diagnosis(
    member="cnn1", dataset="ilsvrc2012", images=1_281_167, bytes=251_900_000_000, side=256, store="raw", fits=True,
    batch=128, machine=Machine("cpu", 4, 2, 1, 400_000_000_000),
    first=COLD, again=CACHED, update=UPDATE, together=Rate(59.0, 1.0e7, 0.0, 0.01),
)  # fmt: skip
GPU = replace(FOUND.machine, device="cuda")


def waiting(share=0.4, from_disk=0.0, **changes):
    together = Rate(1_000.0, 1.7e8, from_disk, share)
    return replace(FOUND, update=Rate(1_700.0, 0.0, 0.0), together=together, **changes)


def test_a_device_that_is_slower_than_the_images_sets_the_pace():
    assert not FOUND.waits
    assert advise(FOUND) == [
        "The device sets the pace: by themselves, images come 150 times as fast as it takes them.",
        "threads: 4 in machine.yaml would use all cores.",
    ]


def test_a_set_that_fits_in_memory_is_told_to_be_slow_once():
    """By themselves 5.3 times as fast once they are there, and 0.7 times before."""
    found = replace(FOUND, update=Rate(1_700.0, 0.0, 0.0), machine=GPU)
    assert advise(found) == [
        "The device sets the pace: by themselves, images come 5.3 times as fast as it takes them.",
        "The first epoch will wait for the disk all the same, until all images are in memory.",
    ]


def test_a_set_that_does_not_fit_is_judged_by_what_comes_from_the_disk():
    assert "come 20 times as fast" in advise(replace(FOUND, fits=False))[0]


@pytest.mark.parametrize(
    ("found", "advice"),
    [
        (waiting(machine=replace(GPU, readers=0)), ["readers: 1 in machine.yaml reads them ahead, while the device computes."]),
        (waiting(machine=GPU), ["readers: 3 in machine.yaml would read on all cores."]),
        (waiting(), ["readers: 2 in machine.yaml would read on all cores."]),
        (
            waiting(machine=replace(GPU, readers=3), store="jpeg"),
            [
                "Decoding is what takes the time; prepare.store: raw needs none, and 252 GB.",
                "All cores are taken: more of them would help.",
            ],
        ),
        (
            waiting(from_disk=0.9),
            [
                "They come from the disk, at 170 MB/s. They fit in memory, so this is the first epoch; after it they come at "
                "9,000 images/s."
            ],
        ),
        (
            waiting(from_disk=0.9, fits=False),
            [
                "They come from the disk, at 170 MB/s, since 252 GB do not fit in memory.",
                "prepare.store: jpeg needs about an eighth, which may fit; it takes cores to decode.",
                "A faster disk or more memory would help.",
            ],
        ),
    ],
)  # fmt: skip
def test_a_training_that_waits_is_told_why(found, advice):
    assert found.waits
    assert advise(found) == ["Training waits for images for 40% of its time.", *advice]


def test_the_figures_stand_in_columns():
    assert render(FOUND, ("a note",)).splitlines() == [
        "cnn1 trains on 1,281,167 images of ilsvrc2012, 252 GB raw, read by way of the page cache",
        "device cpu, 4 cores, 1 reader, memory for 400 GB",
        "a note",
        "",
        "                images/s     MB/s  from disk",
        "images alone     1,200.0    200.0       100%  as they lie",
        "the same again   9,000.0  1,500.0         0%",
        "update alone        60.0                      2,133.3 ms for 128",
        "both together       59.0     10.0         0%  1.0% of the time waiting",
        "",
        *advise(FOUND),
    ]


def test_programs_get_the_same():
    data = as_data(FOUND)
    assert (data["waits"], data["advice"]) == (False, advise(FOUND))
    assert data["together"]["waited"] == 0.01 and data["machine"]["cores"] == 4
