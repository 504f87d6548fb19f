"""Whether a training waits for images or for the device, in figures and in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from alexnet.data.shards import Store

WAITS_FROM = 0.05  # of the time: less is no loss worth any setting
ON_DISK_FROM = 0.2  # of what is read
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1.0, "bytes"))


@dataclass(frozen=True)
class Rate:
    """How fast one thing ran by itself, or all together."""

    images_per_s: float
    bytes_per_s: float  # of stored images, as far as they are wanted
    from_disk: float  # the share of these bytes that came from a disk
    waited: float = 0.0  # the share of the time spent waiting for images


@dataclass(frozen=True)
class Machine:
    """What the training has to itself."""

    device: str
    cores: int
    threads: int
    readers: int
    memory: int | None  # bytes, None if unknown


@dataclass(frozen=True)
class Diagnosis:
    """What was measured of a member's training.

    fits: whether its images are read by way of the page cache, as they fit there. first: the loader alone, on images
    as they lie, on the disk or in memory; again: on the same images once more. update: alone, on a batch that is ready.
    """

    member: str
    dataset: str
    images: int
    bytes: int
    side: int
    store: Store
    fits: bool
    batch: int
    machine: Machine
    first: Rate
    again: Rate
    update: Rate
    together: Rate

    @property
    def raw_bytes(self) -> int:
        """What its images take as raw pixels."""
        return self.images * self.side**2 * 3

    @property
    def waits(self) -> bool:
        """Whether training waits for images."""
        return self.together.waited >= WAITS_FROM


def advise(found: Diagnosis) -> list[str]:
    """What it means and what to do about it, the most likely first."""
    machine, loader = found.machine, found.again if found.fits else found.first
    if not found.waits:
        times = loader.images_per_s / found.update.images_per_s
        lines = [
            f"The device sets the pace: by themselves, images come {_in_short(times)} times as fast as it takes them."
        ]
        if machine.device == "cpu" and machine.threads < machine.cores:
            lines.append(f"threads: {machine.cores} in machine.yaml would use all cores.")
        if found.fits and found.first.images_per_s < found.update.images_per_s:
            lines.append(
                "The first epoch will wait for the disk all the same, until all images are in memory."
            )
        return lines
    lines = [f"Training waits for images for {found.together.waited:.0%} of its time."]
    if machine.readers == 0:
        return [*lines, "readers: 1 in machine.yaml reads them ahead, while the device computes."]
    if found.together.from_disk >= ON_DISK_FROM:
        return [*lines, *_advise_on_disk(found)]
    free = machine.cores - machine.readers - (machine.threads if machine.device == "cpu" else 1)
    if free > 0:
        lines.append(f"readers: {machine.readers + free} in machine.yaml would read on all cores.")
    if found.store == "jpeg":
        lines.append(
            f"Decoding is what takes the time; prepare.store: raw needs none, and {_in_bytes(found.raw_bytes)}."
        )
    if free <= 0:
        lines.append("All cores are taken: more of them would help.")
    return lines


def _advise_on_disk(found: Diagnosis) -> list[str]:
    speed = f"{found.together.bytes_per_s / 1e6:,.0f} MB/s"
    if found.fits:
        return [
            f"They come from the disk, at {speed}. They fit in memory, so this is the first epoch; after it they come "
            f"at {found.again.images_per_s:,.0f} images/s."
        ]
    lines = [f"They come from the disk, at {speed}, since {_in_bytes(found.bytes)} do not fit in memory."]
    if found.store == "raw":
        lines.append("prepare.store: jpeg needs about an eighth, which may fit; it takes cores to decode.")
    lines.append("A faster disk or more memory would help.")
    return lines


def render(found: Diagnosis, notes: tuple[str, ...] = ()) -> str:
    """The figures, and what they mean."""
    machine = found.machine
    way = "by way of the page cache" if found.fits else "past the page cache"
    memory = f", memory for {_in_bytes(machine.memory)}" if machine.memory is not None else ""
    plural = "" if machine.readers == 1 else "s"
    head = [
        f"{found.member} trains on {found.images:,} images of {found.dataset}, {_in_bytes(found.bytes)} "
        f"{found.store}, read {way}",
        f"device {machine.device}, {machine.cores} cores, {machine.readers} reader{plural}{memory}",
        *notes,
        "",
    ]
    rows = [
        ("", "images/s", "MB/s", "from disk", ""),
        ("images alone", *_cells(found.first), "as they lie"),
        ("the same again", *_cells(found.again), ""),
        (
            "update alone",
            f"{found.update.images_per_s:,.1f}",
            "",
            "",
            f"{_milliseconds(found):,.1f} ms for {found.batch}",
        ),
        ("both together", *_cells(found.together), f"{found.together.waited:.1%} of the time waiting"),
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    table = [
        "  ".join(
            [row[0].ljust(widths[0]), *(row[place].rjust(widths[place]) for place in (1, 2, 3)), row[4]]
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*head, *table, "", *advise(found)]) + "\n"


def as_data(found: Diagnosis) -> dict[str, Any]:
    """The same for programs."""
    return {**asdict(found), "waits": found.waits, "advice": advise(found)}


def _cells(rate: Rate) -> tuple[str, str, str]:
    return f"{rate.images_per_s:,.1f}", f"{rate.bytes_per_s / 1e6:,.1f}", f"{rate.from_disk:.0%}"


def _milliseconds(found: Diagnosis) -> float:
    return 1e3 * found.batch / found.update.images_per_s


def _in_bytes(count: int) -> str:
    scale, unit = next(((scale, unit) for scale, unit in UNITS if count >= scale), UNITS[-1])
    return f"{_in_short(count / scale)} {unit}"


def _in_short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
