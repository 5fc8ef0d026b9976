# Two commands a new user needs: `make demo` and `make test`. Both build .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow lint lock clean

demo: $(READY)
	@$(BIN)/maskmill demo --out demo-output

# Quick checks first, so that a failure shows early.
test: lint
	@$(BIN)/python -m pytest -q -m "not slow"

test-slow: $(READY)
	@$(BIN)/python -m pytest -q -m slow

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# The lock holds hashes and no index addresses, so it names no registry.
lock: $(READY)
	@$(BIN)/uv pip compile pyproject.toml --quiet --extra cpu --extra dev --universal \
		--python-version 3.11 --generate-hashes --no-annotate --no-header -o requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check "uv>=0.9"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $(READY)

clean:
	@rm -rf $(VENV) demo-output
