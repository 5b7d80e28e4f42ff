# Every target works alone from a fresh clone: it makes the virtual environment if it is not there,
# installs tcnzoo and the tested versions of all frameworks into it, and runs.
#
#   PYTHON       a Python 3.11 or newer that makes the environment
#   VENV         where the environment is
#   PIP_ARGS     more options of `pip install`, such as an index of CPU-only torch builds
#   DEMO_ARGS, PYTEST_ARGS, BENCH_ARGS    more options of what is run

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?= -n 2
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
INSTALLED = $(VENV)/.installed

.PHONY: help demo test lint bench clean

help:
	@echo "make demo | test | lint | bench | clean"

demo: $(INSTALLED)
	$(VENV)/bin/tcnzoo demo $(DEMO_ARGS)

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy tcnzoo backends weights_convert exporters
	$(VENV)/bin/lint-imports

bench: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks all $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build dist demo_output *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# Two oracles come without their dependencies: keras-tcn asks for `tensorflow`, which tensorflow-cpu
# provides, and braindecode for torchaudio, which does not load beside a CPU build of torch 2.13.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("tcnzoo needs Python 3.11 or newer: make PYTHON=...")'
	test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing torch, mlx, keras and tensorflow into $(VENV): once, a few minutes"
	$(PIP) -e '.[all,test,dev]'
	$(PIP) --no-deps keras-tcn braindecode
	@touch $@
