"""Code as a dependency: the modules each kind of stage really imports, found without importing anything.

python workflow/code_deps.py          says what dvc.yaml lacks or has too much, if anything
python workflow/code_deps.py --write  mends it, comments and order kept
"""

from __future__ import annotations

import ast
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

SRC = Path("src")
PACKAGE = "alexnet"
# The front door parses arguments and checks params.yaml: it computes nothing and holds no default. (`check`, whose work
# that is, depends on CHECKS.) The code that draws the embedded data set is the input of `source`, as `path` in
# params.yaml.
FRONT_DOOR = {f"{PACKAGE}.cli", f"{PACKAGE}.params"}
CHECKS = ("params", "report.claim_list", "unique_keys")
INPUTS = {f"{PACKAGE}.data.generated"}


def stage_modules(src: Path, command: str) -> list[str]:
    """Paths of the modules that `alexnet COMMAND` computes with, sorted, relative to the folder above `src`."""
    if command == "check":
        return [_as_written(src, _file(src, f"{PACKAGE}.{module}")) for module in CHECKS]
    first = f"{PACKAGE}.stages.{command.replace('-', '_')}"
    found = _closure(src, first) - INPUTS
    files = (_file(src, module) for module in found)
    return sorted(_as_written(src, file) for file in files if _has_code(file))


def _closure(src: Path, first: str) -> set[str]:
    seen: set[str] = set()
    waiting = [first]
    while waiting:
        module = waiting.pop()
        if module not in seen and module not in FRONT_DOOR:
            seen.add(module)
            waiting.extend(_imports(src, module))
    return seen


def _imports(src: Path, module: str) -> Iterator[str]:
    """Modules of ours that `module` imports anywhere at run time, with the packages they lie in."""
    file = _file(src, module)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in _run_time_nodes(ast.parse(file.read_text(), str(file))):
        for name in _names(node, package):
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                part = ".".join(parts[:length])
                if parts[0] == PACKAGE and _exists(src, part):
                    yield part


def _names(node: ast.AST, package: str) -> list[str]:
    """What an import statement may name: `from a import b` means a, and a.b if that is a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *filter(None, [node.module])])
        return [f"{base}.{alias.name}" for alias in node.names]
    return []


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _run_time_nodes(node)


def _path(src: Path, module: str) -> Path:
    return src.joinpath(*module.split("."))


def _exists(src: Path, module: str) -> bool:
    path = _path(src, module)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _file(src: Path, module: str) -> Path:
    path = _path(src, module)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _has_code(file: Path) -> bool:
    """Whether there is more in a module than its docstring."""
    body = ast.parse(file.read_text()).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


def _as_written(src: Path, file: Path) -> str:
    return file.relative_to(src.parent).as_posix()


def _kinds(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, command and stage for each stage of dvc.yaml that lists modules: the recipes, and `check`."""
    for name, stage in document["stages"].items():
        if name == "check":
            yield name, name, stage
        elif name.startswith("recipe_"):
            yield name, stage["cmd"].split()[2], stage


def is_code(dependency: object) -> bool:
    """Whether an entry of a stage's `deps` is one this module keeps."""
    return isinstance(dependency, str) and dependency.startswith(f"{SRC}/")


def find_differences(document: dict[str, Any], src: Path = SRC) -> dict[str, tuple[list[str], list[str]]]:
    """Modules that are missing in and to be removed from `deps`, for each stage of dvc.yaml that needs a change."""
    found = {}
    for name, command, stage in _kinds(document):
        wanted = stage_modules(src, command)
        present = [dependency for dependency in stage["deps"] if is_code(dependency)]
        if wanted != present:
            found[name] = (sorted(set(wanted) - set(present)), sorted(set(present) - set(wanted)))
    return found


def mend(text: str, src: Path = SRC) -> str:
    """The text of dvc.yaml with the modules of every stage as they should be."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(text)
    for _, command, stage in _kinds(document):
        others = [dependency for dependency in stage["deps"] if not is_code(dependency)]
        stage["deps"][:] = others + stage_modules(src, command)
    output = io.StringIO()
    yaml.dump(document, output)
    return output.getvalue()


def main(arguments: list[str]) -> int:
    """Reports or mends; 1 if dvc.yaml is wrong and was left so."""
    path = Path("dvc.yaml")
    text = path.read_text()
    differences = find_differences(YAML(typ="safe").load(text))
    for name, (missing, surplus) in differences.items():
        print(f"{name}: add {', '.join(missing) or 'nothing'}; remove {', '.join(surplus) or 'nothing'}")
    if differences and "--write" in arguments:
        path.write_text(mend(text))
        return 0
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
