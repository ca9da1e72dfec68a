# make demo   the hospital simulation: installs what it needs, then shows an attacked federation with and without us
# make test   lint, types and the whole test suite: installs what it needs first
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check

export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION := 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test lint bench clean

demo: $(VENV)/.app
	$(BIN)/flower-robust simulate --dataset breast-cancer --hospitals 10 --attack sign-flip --malicious 2 --out runs/demo

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch comes first and alone: a spelling that lets the resolver choose pulls gigabytes of CUDA.
$(VENV)/.app: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt torch==2.13.0
	$(PIP) install --quiet --constraint constraints.txt --editable '.[app]'
	touch $@

# byzfl asks for torchvision, which its rules do not need: it is installed without its dependencies.
$(VENV)/.test: $(VENV)/.app
	$(PIP) install --quiet --constraint constraints.txt --editable '.[app,test,peers]'
	$(PIP) install --quiet --no-deps byzfl==0.0.11
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
