# Two commands from a fresh clone: `make demo` and `make test`.
PYTHON ?= python3.11
BIN := .venv/bin
# Two threads: models here are small.
export OMP_NUM_THREADS ?= 2
# What is imported is compiled once and kept: pip is told not to compile what may never be imported.
unexport PYTHONDONTWRITEBYTECODE

SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist worksteal

.PHONY: help demo test slow check format clean

help:  ## Say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --editable .
	touch $@

.venv/installed-tests: .venv/installed
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[eval,export,factory]' --group test --group dev
	touch $@

demo: .venv/installed  ## Draw six pictures with the shipped model and under two faster plans
	rm -rf out/demo
	$(BIN)/intarsia run --out out/demo --plan emoji-fast --plan emoji-faster \
		"a fox in noto style" "a red apple in 3d style" "a rocket in flat style" \
		"a guitar in high contrast style" "a sunflower in twemoji style" "a pizza in shaded style"

test: .venv/installed-tests  ## Run the quick tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow and not alone"
	$(BIN)/python -m pytest -m alone

slow: .venv/installed-tests  ## Run the slow tests too
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not alone"
	$(BIN)/python -m pytest -m alone

check: .venv/installed-tests  ## Format, lint, types, import directions, sizes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python scripts/house.py

format: .venv/installed-tests  ## Put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove what make made
	rm -rf .venv out dist
