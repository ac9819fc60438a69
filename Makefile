# Two commands: `make run` and `make test`. Everything else is a detail of those.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUN_ARGS ?=
BENCHES ?= audit_append record_home decide impact state quotas ownership gateway cutoff screening rescreen
SECONDS ?= 20
FUZZ_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test fuzz check lint types imports story bench soak reset clean lock

help:  ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A set-up is repeated only when its lock changes, so the second time needs no network.
.venv/ready-run: requirements.lock pyproject.toml
	@scripts/set-up "$(PYTHON)" requirements.lock $@

.venv/ready-test: requirements-dev.lock pyproject.toml .venv/ready-run
	@scripts/set-up "$(PYTHON)" requirements-dev.lock $@

run: .venv/ready-run  ## Set up and start the whole system with the sample story's people and models
	@exec $(BIN)/safeconduct run $(RUN_ARGS)

test: .venv/ready-test  ## Set up and pass the tests
	@$(BIN)/python -m pytest -n $${TEST_WORKERS:-auto} --dist loadgroup

fuzz: .venv/ready-test  ## Fuzz what reads bytes of strangers, SECONDS=20 each; findings become files that `make test` tries
	@$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) $(FUZZ_ARGS)

check: lint types imports  ## Lint, types and import contract

lint: .venv/ready-test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/ready-test
	@$(BIN)/mypy

imports: .venv/ready-test
	@$(BIN)/lint-imports --no-cache

story: .venv/ready-run  ## Play June 2026 over the wire and compare every cell
	@$(BIN)/safeconduct story june-2026

bench: .venv/ready-test  ## Measure, each figure beside a baseline of the same run
	@for one in $(BENCHES); do echo "== bench/$$one.py"; $(BIN)/python bench/$$one.py || exit 1; done

soak: .venv/ready-test  ## What takes minutes: a million bad credentials, and what they add to the logs
	@$(BIN)/python tests/soak/flooding.py

reset:  ## Delete the data that `make run` keeps
	@if [ -x $(BIN)/safeconduct ]; then $(BIN)/safeconduct reset --yes; else rm -rf run; fi

clean:  ## Delete the virtual environment and caches (keeps data)
	@rm -rf .venv .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist

lock:  ## Renew the hashed locks (needs uv)
	@printf 'hatchling\neditables\n' > .build-requirements.in
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra server --extra clients pyproject.toml .build-requirements.in -o requirements.lock
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra server --extra clients --group dev pyproject.toml .build-requirements.in -o requirements-dev.lock
	@rm -f .build-requirements.in
