PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
WORKERS ?= $(shell $(PYTHON) -c "import os; print(max(2, os.cpu_count()))")
# Without bytecode each of the many processes that tests start would compile the whole package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: board container install quickstart test tests types test-slow format

install: $(INSTALLED)

# Installs again when what is installed has changed, and does nothing when not.
$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,tensorboard]'
	@touch $(INSTALLED)

quickstart: install
	$(BIN)/edgekd run recipes/quickstart.yaml

# What is timed runs afterwards, alone. PYTEST takes further flags.
test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	+@$(MAKE) --no-print-directory --jobs=2 types tests
	$(BIN)/pytest -m 'timing and not slow' $(PYTEST)

types: install
	$(BIN)/mypy

tests: install
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not slow and not timing' $(PYTEST)

test-slow: install
	$(BIN)/pytest -m slow $(PYTEST)

board: install
	PIP=$(BIN)/pip tests/devices/board.sh build

container: quickstart
	PIP=$(BIN)/pip tests/container/build.sh runs/quickstart/bundle

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
