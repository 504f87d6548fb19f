"""How much memory there is for this process, the kernel's cache of files included."""

from __future__ import annotations

from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Bytes that are free or can be freed, within the limits of the process's cgroups; None where nothing tells it."""
    found = [value for value in (_read_available(), *_read_limits()) if value is not None]
    return min(found, default=None)


def _read_available() -> int | None:
    """MemAvailable of the whole machine."""
    for line in _read(PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _read_limits() -> list[int | None]:
    """The limits of the cgroup and of those around it; a container sees its own as the root."""
    limits: list[int | None] = []
    for line in _read(PROC / "self/cgroup").splitlines():
        number, controllers, name = line.split(":", 2)
        if number == "0":
            root, file = CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, file = CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = root / name.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                limits.append(_read_limit(folder / file))
    return limits


def _read_limit(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _read(path: Path) -> str:
    """A file's text, or none where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
