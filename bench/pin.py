"""Writes requirements.txt: the exact version of everything the project needs, as installed and tested here.

`python bench/pin.py`, in an environment where `pip install .[test]` was done. pip takes the file as constraints, so a
package that another platform does not need does no harm there.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ALWAYS = ["pip", "setuptools"]  # what installs the rest


def find_all(wanted: list[str]) -> dict[str, str]:
    """Version by name of what `wanted` needs, and what that needs, on this platform."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(text) for text in wanted]
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found = distribution(name)
        versions[name] = found.version
        for text in found.requires or []:
            needed = Requirement(text)
            if any(
                needed.marker is None or needed.marker.evaluate({"extra": extra}) for extra in {"", *extras}
            ):
                waiting.append(needed)
    return versions


def main() -> None:
    """Writes the file."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    tests = project["optional-dependencies"]["test"]
    versions = find_all([*project["dependencies"], *tests, *ALWAYS])
    lines = [f"{name}=={version.partition('+')[0]}\n" for name, version in sorted(versions.items())]
    Path("requirements.txt").write_text(
        "# Written by `python bench/pin.py`; used as constraints.\n" + "".join(lines)
    )


if __name__ == "__main__":
    main()
