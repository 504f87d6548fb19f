"""Imports go one way: cli -> stages -> {data, report} -> core; core is pure."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src/alexnet"
LEAVES = {"alexnet.errors", "alexnet.schema", "alexnet.paths", "alexnet.unique_keys"}
MODULES = sorted(path.relative_to(SRC).as_posix() for path in SRC.rglob("*.py") if path.name != "__init__.py")


def imports(module):
    found = set()
    for node in ast.walk(ast.parse((SRC / module).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layers_used(module):
    return {
        name.split(".")[1] for name in imports(module) if name.startswith("alexnet.") and name.count(".") >= 2
    }


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("core/")])
def test_core_is_pure(module):
    own = {name for name in imports(module) if name.startswith("alexnet")}
    assert all(name.startswith(("alexnet.core", "alexnet.schema")) for name in own)
    assert not imports(module) & {"os", "pathlib", "time", "random", "sys", "subprocess"}


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith(("data/", "report/"))])
def test_data_and_report_stand_on_core_alone(module):
    assert layers_used(module) <= {
        "core",
        "schema",
        module.split("/")[0],
        "errors",
        "paths",
        "unique_keys",
    } | ({"data"} if module.startswith("report/") else set())


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("stages/")])
def test_stages_never_import_each_other(module):
    assert "stages" not in layers_used(module)
    assert "alexnet.params" not in imports(module)
