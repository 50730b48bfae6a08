# The commands of CONTRIBUTING.md. Each one first does the set-up that it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
# Let Python save compiled files. Otherwise each process of a test or demo would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick check faults bench audit lock clean

demo: .venv/.ready
	$(BIN)/records demo

# With these settings of glibc, which others ignore, the many small statements of tests take a sixth less CPU.
test quick soak: export GLIBC_TUNABLES := \
  glibc.malloc.tcache_count=20000:glibc.malloc.trim_threshold=536870912:glibc.malloc.top_pad=67108864

style = $(BIN)/ruff format --check . && $(BIN)/ruff check .

# Checks the types while quick tests run, and prints what it found after them. Fails if either does. Tests of servers
# would wait too long beside it.
beside_types = $(BIN)/mypy >.venv/types 2>&1 & types=$$!; $(1); tests=$$?; \
  wait $$types; types=$$?; cat .venv/types; exit $$((tests + types > 0))

# Runs one test more than there are cores, because some wait for a server, a browser or a process to be killed.
# Tests that share one of these run in one process.
test: .venv/.ready
	$(style)
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses $$(($$(nproc) + 1)) --dist loadgroup

# For use while working, within a minute: style, types, and the tests of the most used parts, with local stores alone.
QUICK := layout errors definitions parsing mapping validation filters dates record_type report_writer \
  record_store importer export_commands
quick: .venv/.ready
	$(style)
	$(call beside_types,$(BIN)/pytest --quiet --numprocesses logical --dist loadgroup -k "not postgres and not server" \
	  $(QUICK:%=tests/test_%.py))

# The long forms of tests: all examples of hypothesis, and histories of more steps.
.PHONY: soak
soak: .venv/.ready
	$(BIN)/pytest --numprocesses logical --dist loadgroup --hypothesis-profile long -m "hypothesis or soak"

check: .venv/.ready
	$(style)
	$(BIN)/mypy

# Updates what the pages quote: the output of their commands, and the picture of the README. DEMO=1 also runs the demo.
.PHONY: pages
pages: .venv/.ready
	$(BIN)/python -m tests.pages $(if $(DEMO),--demo)

# Injects thousands of faults. SEED=2 tries other faults, ONLY=kill one kind, CASE='…' one fault.
# TABLE=1 writes deploy/FAULTS.md.
faults: .venv/.ready
	$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) $(if $(SHARE),--share $(SHARE)) \
	  $(if $(SECONDS),--seconds $(SECONDS)) \
	  $(if $(CASE),--case '$(CASE)') $(if $(TABLE),--table)
	$(if $(ONLY)$(CASE),,$(BIN)/python -m tests.faults.killed_pages)

bench: .venv/.ready .venv/bench/.ready
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.dagster_instance
	$(BIN)/python -m tests.benchmarks.server
	$(BIN)/python -m tests.benchmarks.history
	$(BIN)/python -m tests.benchmarks.web
	$(BIN)/python -m tests.benchmarks.machines --records $(or $(RECORDS),10000000) --files $(or $(FILES),1000)

# The benchmark compares imports with dlt. dlt has its own environment, because nothing else needs it.
.venv/bench/.ready: tests/benchmarks/dlt.txt
	$(PYTHON) -m venv .venv/bench
	.venv/bench/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Checks the locked dependencies for known vulnerabilities. It needs the public package index, so `make test` and CI do
# not run it. Without the index or its data on vulnerabilities, it fails and says that it checked nothing.
audit: .venv/.ready .venv/audit/.ready
	$(BIN)/python -m tests.audit

# pip-audit has its own environment, so that its dependencies do not mix with ours.
.venv/audit/.ready: tests/audit/pip-audit.txt
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# pip and uv print nothing, so two lines show that the set-up runs and how long it took.
.venv/.ready: pyproject.toml requirements.lock
	@echo "Setting up .venv with about $$(grep -c == requirements.lock) packages. This takes a minute or two …"
	@started=$$(date +%s); \
	if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) .venv && \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock && \
	  uv pip install --quiet --python $(BIN)/python --no-deps -e . ; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e . ; \
	fi && echo "Set up .venv in $$(($$(date +%s) - started)) s."
	@touch $@

# Pins every direct and indirect dependency for all platforms and Python versions. The lock names no index address.
lock: .venv/.ready
	uv pip compile --quiet --universal --no-emit-index-url --no-header --all-extras --upgrade \
	  pyproject.toml -o requirements.lock

# Removes what the other targets make. It touches no store.
clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
