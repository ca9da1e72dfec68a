# make demo   the hospital simulation: installs what it needs, then shows an attacked federation with and without us
# make test   lint, types, the whole test suite, then deployment-test: installs what it needs first
# make test-window       the Flower tests on the oldest and the newest supported Flower
# make deployment-test   only the real federation on loopback, with TLS, authentication and faults; takes minutes
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
WINDOW := 1.38 1.41

export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION := 1
export RAY_USAGE_STATS_ENABLED := 0
export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER := 0

.PHONY: demo test test-window deployment-test lint clean

demo: $(VENV)/.app
	$(BIN)/flower-robust simulate --dataset breast-cancer --hospitals 10 --attack sign-flip --malicious 2 --threshold auto --out runs/demo --replace

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile
	$(MAKE) deployment-test

deployment-test: $(VENV)/.test
	$(BIN)/python -m pytest -m deployment tests/deployment

test-window: $(WINDOW:%=.venvs/flwr-%/.ready)
	set -e; for v in $(WINDOW); do echo "Flower $$v"; .venvs/flwr-$$v/bin/python -m pytest -m window tests/*/test_flower_*.py; done

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch comes first and alone: a spelling that lets the resolver choose pulls gigabytes of CUDA.
$(VENV)/.app: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt torch==2.13.0
	$(PIP) install --quiet --constraint constraints.txt --editable '.[app]'
	$(BIN)/python -m flower_robust.masking.kernels.build
	touch $@

# byzfl asks for torchvision, which its rules do not need: it is installed without its dependencies.
$(VENV)/.test: $(VENV)/.app
	$(PIP) install --quiet --constraint constraints.txt --editable '.[app,test,peers]'
	$(PIP) install --quiet --no-deps byzfl==0.0.11
	touch $@

# The newest pins do not fit the oldest Flower: what it pins itself is left to it.
.venvs/flwr-%/.ready: pyproject.toml constraints.txt
	test -x .venvs/flwr-$*/bin/python || $(PYTHON) -m venv .venvs/flwr-$*
	grep -vE '^(flwr|cryptography|uv)==' constraints.txt > .venvs/flwr-$*/constraints.txt
	.venvs/flwr-$*/bin/pip --disable-pip-version-check install --quiet --constraint .venvs/flwr-$*/constraints.txt torch==2.13.0
	.venvs/flwr-$*/bin/pip --disable-pip-version-check install --quiet --constraint .venvs/flwr-$*/constraints.txt 'flwr[simulation]==$*.*' --editable '.[app,test]'
	touch $@

clean:
	rm -rf $(VENV) .venvs .mypy_cache .ruff_cache .pytest_cache
