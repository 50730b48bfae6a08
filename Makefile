# The two commands of the README, and what stands behind them. Each does the set-up it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
# Compiled once, not by each of the many processes that a test or a demo starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick check faults bench audit lock clean

demo: .venv/.ready
	$(BIN)/records demo

# A test on each core; those that share a browser or a server stay together.
test: check
	$(BIN)/pytest --numprocesses logical --dist loadgroup

# While working, within a minute: style, types, and the tests of what most changes touch, with stores on a laptop alone.
QUICK := layout errors definitions parsing mapping validation filters dates record_type progress report_writer \
  record_store importer export_commands planted_errors
quick: .venv/.ready
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/pytest --quiet --numprocesses logical --dist loadgroup -k "not postgres and not server" \
	  $(QUICK:%=tests/test_%.py)

check: .venv/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Thousands of faults: SEED=2 tries others, ONLY=kill one kind, CASE='…' one of them, TABLE=1 writes deploy/FAULTS.md.
faults: .venv/.ready
	$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) $(if $(SHARE),--share $(SHARE)) \
	  $(if $(CASE),--case '$(CASE)') $(if $(TABLE),--table)

bench: .venv/.ready .venv/bench/.ready
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.dagster_instance
	$(BIN)/python -m tests.benchmarks.server

# dlt, which imports are compared with, has an environment of its own: nothing else needs it.
.venv/bench/.ready: tests/benchmarks/dlt.txt
	$(PYTHON) -m venv .venv/bench
	.venv/bench/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Known vulnerabilities of what is locked. Not part of `make test` or CI, for it needs the public package index: where that,
# or its vulnerability data, is not reached it fails and says that nothing was audited.
audit: .venv/.ready .venv/audit/.ready
	$(BIN)/python -m tests.audit

# pip-audit has an environment of its own: what it brings is no dependency of ours.
.venv/audit/.ready: tests/audit/pip-audit.txt
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.venv/.ready: pyproject.toml requirements.lock
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) .venv && \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock && \
	  uv pip install --quiet --python $(BIN)/python --no-deps -e . ; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e . ; \
	fi
	@touch $@

# Every direct and indirect dependency, pinned for all platforms and Pythons; no index address in it.
lock: .venv/.ready
	uv pip compile --quiet --universal --no-emit-index-url --no-header --all-extras --upgrade \
	  pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .records .mypy_cache .pytest_cache .ruff_cache .hypothesis
