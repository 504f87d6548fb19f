"""Writes what all stages of a kind share: `python workflow/recipe.py COMMAND [SECTION]...`.

work/recipes/COMMAND lists the hash of each module `alexnet COMMAND` imports, and the named sections of params.yaml.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from code_deps import SRC, stage_modules


def compose(command: str, sections: list[str]) -> str:
    """The text of a recipe: the same for the same code and parameters, wherever and whenever it is written."""
    lines = [
        f"{hashlib.sha256(Path(file).read_bytes()).hexdigest()}  {file}"
        for file in stage_modules(SRC, command)
    ]
    params = yaml.safe_load(Path("params.yaml").read_text()) if sections else {}
    lines += [f"{section}: {json.dumps(find_section(params, section))}" for section in sections]
    return "\n".join(lines) + "\n"


def find_section(params: dict[str, Any], section: str) -> Any:
    """A section of params.yaml by its keys, dots between them."""
    found: Any = params
    for key in section.split("."):
        found = found[key]
    return found


def main(arguments: list[str]) -> None:
    """Writes one recipe."""
    command, *sections = arguments
    output = Path("work/recipes") / command
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(compose(command, sections))


if __name__ == "__main__":
    main(sys.argv[1:])
