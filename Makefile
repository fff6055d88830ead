# Two commands are enough: `make demo` and `make test`. Each makes .venv and installs by itself.
PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/.installed
EXTRAS := embedded,encoders,offline,chinese,fast,redis,plots,test,dev
ARGS   ?=
# Tests wait for processes more than they compute. One file's tests stay together: they share its stores.
PARALLEL ?= -n 3 --dist loadfile

.PHONY: demo test test-servers check bench soak lock clean help
.DEFAULT_GOAL := help

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "skugraph needs Python 3.11 or newer; name one: make PYTHON=python3.12 …" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(EXTRAS)]"
	@touch $@

demo: $(READY)  ## sample catalogue: ingest, train, embed, search
	$(BIN)/skugraph demo $(ARGS)

test: $(READY)  ## default tiers: embedded stores and a real worker process included
	$(BIN)/python -m pytest $(PARALLEL) -m "not neo4j and not milvus_server and not redis and not rabbitmq and not gpu and not browser" $(ARGS)

test-servers: $(READY)  ## the same tests on genuine servers (README: how to name them)
	$(BIN)/python -m pytest $(if $(SKUGRAPH_TEST_NEO4J_URI),,$(PARALLEL)) -m "neo4j or milvus_server or redis or rabbitmq or browser" $(ARGS)

check: $(READY)  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)  ## every benchmark, quickly; figures to build/bench
	$(BIN)/python -m benchmarks --quick --out build/bench $(ARGS)

# ROUNDS of KILLS each, a catalogue of SIZE products; the same SEED kills the same processes in the same order.
ROUNDS ?= 3
KILLS  ?= 50
SEED   ?= 0
SIZE   ?= 4000

soak: $(READY)  ## kill -9 at random under search load; report to build/soak.json (ROUNDS, KILLS, SEED, SIZE)
	$(BIN)/python -m benchmarks.faults --rounds $(ROUNDS) --kills $(KILLS) --seed $(SEED) --size $(SIZE) --out build/soak.json $(ARGS)

lock: $(READY)  ## the lock files of docker/ anew from pyproject.toml; ARGS=--upgrade takes newer versions
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1"
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docker/lock.py $(ARGS)

clean:  ## forget the virtual environment and build products
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
