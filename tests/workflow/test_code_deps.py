from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from code_deps import find_differences, mend, stage_modules
from tests.workflow.project import ROOT


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A small package: train imports core.net, which imports its neighbour core.layers and, for types, core.far."""
    modules = {
        "__init__": '"""Docstring alone."""',
        "params": "import alexnet.core.hidden",
        "stages/__init__": '"""Docstring alone."""',
        "stages/train": "from alexnet.core import net\nfrom alexnet import params\nimport numpy",
        "stages/table": "def run():\n    from alexnet.core.late import now\n",
        "core/__init__": "VERSION = 1",
        "core/net": "from typing import TYPE_CHECKING\nfrom . import layers\nif TYPE_CHECKING:\n    import alexnet.core.far",
        "core/layers": "",
        "core/late": "now = 1",
        "core/far": "far = 1",
        "core/hidden": "hidden = 1",
    }
    for name, text in modules.items():
        file = tmp_path / "src" / "alexnet" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return tmp_path / "src"


def test_imports_are_followed_but_not_through_the_front_door(src: Path) -> None:
    assert stage_modules(src, "train") == [
        "src/alexnet/core/__init__.py",
        "src/alexnet/core/net.py",
        "src/alexnet/stages/train.py",
    ]  # layers.py is empty and far.py for types only


def test_an_import_inside_a_function_counts(src: Path) -> None:
    assert "src/alexnet/core/late.py" in stage_modules(src, "table")


def test_check_depends_on_what_reads_parameters_and_claims(src: Path) -> None:
    names = ("params", "report/claim_list", "unique_keys")
    assert stage_modules(src, "check") == [f"src/alexnet/{name}.py" for name in names]


def test_mending_keeps_comments_and_is_needed_once(src: Path) -> None:
    text = (
        "# first\n"
        "stages:\n"
        "  recipe_train:   # second\n"
        "    cmd: python workflow/recipe.py train network\n"
        "    deps:\n"
        "      - work/checked\n"
        "      - src/alexnet/core/far.py\n"
        "    params:\n"
        "      - params.yaml:\n"
    )
    document = YAML(typ="safe").load(text)
    missing, surplus = find_differences(document, src)["recipe_train"]
    assert "src/alexnet/core/net.py" in missing
    assert surplus == ["src/alexnet/core/far.py"]
    mended = mend(text, src)
    assert mended.startswith("# first\nstages:\n  recipe_train:   # second\n")
    assert "      - work/checked\n      - src/alexnet/core/__init__.py\n" in mended
    assert "      - params.yaml:\n" in mended
    assert find_differences(YAML(typ="safe").load(mended), src) == {}
    assert mend(mended, src) == mended


def test_dvc_yaml_lists_what_is_imported() -> None:
    document = YAML(typ="safe").load(ROOT / "dvc.yaml")
    differences = find_differences(document, ROOT / "src")
    assert not differences, "run `python workflow/code_deps.py --write`"
