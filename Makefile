# make results: everything in results/, from the embedded data set. make test: all checks and tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Exact versions of everything; --no-build-isolation, so that the build too uses the pinned setuptools.
INSTALL := $(PIP) install --constraint requirements.txt --no-build-isolation --editable

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: results test

results: $(VENV)/installed
	snakemake --cores all

test: $(VENV)/installed-test
	ruff check
	ruff format --check
	snakefmt --check Snakefile
	mypy
	python workflow/code_deps.py
	pytest

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; found " + sys.version.split()[0] + ". Say make PYTHON=/path/to/python3.")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/made requirements.txt pyproject.toml
	$(PIP) install --constraint requirements.txt pip setuptools
	$(INSTALL) .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(INSTALL) '.[test]'
	@touch $@
