# Two commands a new user needs: `make demo` and `make test`. Both build .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Bytecode is kept, of packages from the start (--compile-bytecode below): a command that compiles
# all it imports takes twice its time.
export PYTHONDONTWRITEBYTECODE :=

# Real services for the tests of faults: an object store, one without conditional writes, a proxy.
SERVICES := .venv-services
SERVICES_READY := $(SERVICES)/.ready
# What the benchmarks are measured against, beside maskmill itself: PyTorch, MONAI, other Zarr libraries.
PEERS := .venv-bench
PEERS_READY := $(PEERS)/.ready
PACKAGES := radosgw ceph-mon ceph-osd ceph-common \
	swift-proxy swift-account swift-container swift-object memcached \
	slurm-wlm munge iproute2 postgresql postgresql-client chromium

# Files of quick tests are spread over a few processes; each starts Ray at most once. Slow ones
# follow each other: Ray gives its node half a minute to start, however busy the machine is.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile

.PHONY: demo test test-slow test-services test-long services chaos bench lint lock audit-dependencies clean

demo: $(READY)
	@$(BIN)/maskmill demo --out demo-output

# Quick checks first, so that a failure shows early.
test: lint
	@$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m "not slow and not services"

test-slow: $(READY)
	@$(BIN)/python -m pytest -q --timeout 900 -m "slow and not services"

test-services: services
	@$(BIN)/python -m pytest -q -m services

# Both, two files at a time: services are waited for more than they compute.
test-long: services
	@$(BIN)/python -m pytest -q --timeout 900 -n 2 --dist loadfile -m "slow or services"

services: $(READY) $(SERVICES_READY)
	@dpkg -s $(PACKAGES) >/dev/null 2>&1 || if [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends $(PACKAGES) >/dev/null; \
	else \
		echo "as root: apt-get install --no-install-recommends $(PACKAGES)" >&2; exit 1; \
	fi

# Twenty runs, each with one process killed at a random moment; all have to end with the same bytes.
chaos: $(READY)
	@rm -rf chaos-output
	@$(BIN)/python -m benchmarks.chaos --runs 20 --seed 1 --parallel 2 --out chaos-output

# Every figure under docs/benchmarks that compares with something else; hours, on a machine that rests.
BENCHMARKS := efficiency peers pipeline pyramid importing inference evaluation feeding memory startup
SCALE := driver workers nodes
bench: $(PEERS_READY)
	@for name in $(BENCHMARKS); do $(PEERS)/bin/python -m benchmarks.$$name || exit 1; done
	@for part in $(SCALE); do $(PEERS)/bin/python -m benchmarks.scale $$part || exit 1; done

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Asks the advisory service about every package of the lock, and says so where it cannot be asked.
audit-dependencies: $(READY)
	@$(BIN)/uv tool run --quiet "pip-audit>=2.7,<3" --strict --disable-pip --require-hashes \
		--progress-spinner off -r requirements.lock || { \
		echo "pip-audit found something or could not ask the advisory service; see above." >&2; \
		echo "Offline: $(BIN)/python -m pytest -q tests/test_flows/test_security.py -k lock" >&2; \
		exit 1; }

# Locks hold hashes and no index addresses, so they name no registry; those of images no test tools.
lock: $(READY)
	@$(BIN)/uv pip compile pyproject.toml --quiet --extra cpu --extra dev --universal \
		--python-version 3.11 --generate-hashes --no-annotate --no-header -o requirements.lock
	@for kind in cpu gpu; do $(BIN)/uv pip compile pyproject.toml --quiet --extra $$kind --extra cluster \
		--constraint requirements.lock --python-platform x86_64-manylinux_2_28 \
		--python-version 3.11 --generate-hashes --no-annotate --no-header \
		-o deploy/requirements-$$kind.lock || exit 1; done
	@printf 'monai\nngff-zarr\ntensorstore\ntorch\nzarrs\n' | $(BIN)/uv pip compile pyproject.toml - \
		--quiet --extra cpu --extra dev --constraint requirements.lock \
		--python-platform x86_64-manylinux_2_28 --python-version 3.11 --generate-hashes \
		--no-annotate --no-header -o benchmarks/requirements.txt
	@echo hatchling | $(BIN)/uv pip compile - --quiet --python-version 3.11 --generate-hashes \
		--no-annotate --no-header -o deploy/requirements-build.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check "uv>=0.9"
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python \
		--require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $(READY)

# mitmproxy pins what others need in other versions: an environment of its own.
$(SERVICES_READY): tests/services/requirements.txt | $(READY)
	@$(PYTHON) -m venv --clear $(SERVICES)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(SERVICES)/bin/python \
		--require-hashes -r $<
	@touch $@

$(PEERS_READY): benchmarks/requirements.txt pyproject.toml | $(READY)
	@$(PYTHON) -m venv --clear $(PEERS)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(PEERS)/bin/python \
		--require-hashes -r $<
	@$(BIN)/uv pip install --quiet --python $(PEERS)/bin/python --no-deps -e .
	@touch $@

clean:
	@rm -rf $(VENV) $(SERVICES) $(PEERS) demo-output chaos-output
