PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: board container install quickstart test test-slow format

install: $(INSTALLED)

# Installs again when what is installed has changed, and does nothing when not.
$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,tensorboard]'
	@touch $(INSTALLED)

quickstart: install
	$(BIN)/edgekd run recipes/quickstart.yaml

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

test-slow: install
	$(BIN)/pytest -m slow

board: install
	PIP=$(BIN)/pip tests/devices/board.sh build

container: quickstart
	PIP=$(BIN)/pip tests/container/build.sh runs/quickstart/bundle

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
