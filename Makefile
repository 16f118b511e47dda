PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev

.PHONY: demo test test-fast fuzz chaos chaos-fleet run bench lock sbom lint clean

demo: $(RUN_STAMP)
	$(BIN)/python -m service demo

run: $(RUN_STAMP)
	$(BIN)/python -m service up

# four files at a time: most tests wait for processes rather than compute
test: $(DEV_STAMP) lint
	$(BIN)/python -m compileall -q service kernels benchmarks # once, not by each process that a test starts
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

# no servers, no whole processes: under a minute on two cores
test-fast: $(DEV_STAMP)
	$(BIN)/python -m pytest --numprocesses 2 -m "not servers and not slow"

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# SECONDS of schemathesis, which `make test` runs for 24, and of values at their extremes
SECONDS ?= 600
fuzz: $(DEV_STAMP)
	REELMILL_FUZZ_SECONDS=$(SECONDS) REELMILL_FUZZ_SEED=$$(date +%s) $(BIN)/python -m pytest --timeout 0 tests/end_to_end/test_schemathesis.py tests/routers/test_extremes.py

# faults at random moments under `reelmill up`, of which `make test` has some seconds; with STORE=s3 over the server of
# REELMILL_TEST_S3_ENDPOINT, behind a proxy that misbehaves
MINUTES ?= 30
SEED ?= 1
STORE ?= folder
chaos: $(DEV_STAMP)
	$(BIN)/python -m tests.faults $(MINUTES) $(SEED) $(STORE)

# workers in network namespaces that are cut off, frozen and killed; needs root and REELMILL_TEST_S3_ENDPOINT
chaos-fleet: $(DEV_STAMP)
	$(BIN)/python -m tests.faults fleet $(SEED)

bench: $(DEV_STAMP)
	$(BIN)/python -m benchmarks render

# what the images install; pins that still fit are kept, `make lock UPGRADE=--upgrade` takes the newest that pyproject.toml allows
lock: $(DEV_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lock]'
	$(BIN)/python -m tests.deployment.lock $(UPGRADE)
	$(BIN)/python -m tests.deployment.sbom

# the bills of materials, from the lock files, deploy/licences.toml and deploy/bundled.toml; needs no network
sbom: $(DEV_STAMP)
	$(BIN)/python -m tests.deployment.sbom

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(DEV_STAMP): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ $(RUN_STAMP)
