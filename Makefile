# Needs Python 3.11 or newer and make; everything else is installed into .venv from hashes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
REQUIREMENTS := requirements/dev.txt

# pyright comes with its own node as a wheel: it must neither look for another one nor for news.
export PYRIGHT_PYTHON_GLOBAL_NODE := off
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

# The folders that both type checkers read, as far as they are there.
TYPED := src $(wildcard examples)

.DEFAULT_GOAL := help
.PHONY: help setup check fix test chaos fuzz demo demo-checkout demo-kafka kafka docs release projects bench bench-kafka bench-peers lock clean

help: ## show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv from the locked requirements

# The stamp is older than the requirements only when they changed. An editable install reads
# pyproject.toml for its entry point, so a change there counts as well.
$(STAMP): $(REQUIREMENTS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Bide needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) -V`. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(REQUIREMENTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

check: setup ## format, lint, types (mypy and pyright), imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/pyright $(TYPED)
	$(BIN)/lint-imports --cache-dir .cache/imports

fix: setup ## format, and repair what ruff can repair
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Two at a time: what the smallest machine has. ARGS=-n0 runs them one after another.
test: setup ## run the tests; ARGS="-k word" goes to pytest
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

chaos: setup ## the long form of what breaks: kills, restarts, cuts; ARGS="-k restarts"
	$(BIN)/python -m pytest tests/chaos --long $(ARGS)

fuzz: setup ## 10,000 requests against the API by its own description; ARGS="--cases 50000"
	$(BIN)/python -m tests.fuzz.search $(ARGS)

demo: setup ## a thousand payments through a kill; INPUT=FILE for your own
	$(BIN)/python -m examples.csv_payments.demo $(if $(INPUT),--input $(INPUT))

docs: setup ## the site of docs/, in out/docs
	$(BIN)/python -m sphinx -W -q -b html docs out/docs
	@echo out/docs/index.html

release: setup ## wheel and source archive in dist/; ARGS=--install tries them with each extra alone
	$(BIN)/python -m scripts.release $(ARGS)

demo-kafka: setup ## the same over Kafka, on a broker of its own (Java 17, Maven); INPUT=FILE
	$(BIN)/python -m examples.csv_payments.demo --kafka --folder out/demo-kafka $(if $(INPUT),--input $(INPUT))

kafka: setup ## a Kafka broker for development, until Ctrl-C; ARGS="--port 9092 --folder DIR"
	$(BIN)/python -m tests.servers.kafka $(ARGS)

projects: setup ## what `bide new` makes, each in an environment of its own; ARGS=inbox for some
	$(BIN)/python -m scripts.projects $(ARGS)

demo-checkout: setup ## a thousand orders over three processes that are killed; ARGS="--orders 100"
	$(BIN)/python -m examples.checkout.demo $(ARGS)

bench: setup ## the figures, with the limit beside each; ARGS="-n 2000 --json"
	$(BIN)/bide bench all $(ARGS)

bench-kafka: setup ## 10,000 payments over Kafka and over HTTP, timed; ARGS="--rows 1000 --json"
	$(BIN)/python -m benchmarks.kafka $(ARGS)

bench-peers: setup ## Bide beside its peers, in one run; ARGS="-n 200 --runs 1"
	$(BIN)/python -m benchmarks.peers $(ARGS)

# What is compiled must not depend on the machine: no extra index, no folder of wheels, and no
# address in the result, so that whoever installs uses the registry that they trust.
PEERS := benchmarks/peers/requirements
LOCK := env -u PIP_FIND_LINKS -u UV_FIND_LINKS -u UV_INDEX_URL -u UV_DEFAULT_INDEX -u UV_EXTRA_INDEX_URL \
	$(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links

lock: $(VENV)/bin/uv ## compile requirements/ again; ARGS=--upgrade for newer versions
	$(LOCK) $(ARGS) pyproject.toml --output-file requirements/base.txt
	$(LOCK) $(ARGS) pyproject.toml --group dev --constraint requirements/base.txt --output-file requirements/dev.txt
	for peer in $(PEERS)/*.in; do $(LOCK) $(ARGS) $$peer --output-file $${peer%.in}.txt || exit 1; done

# A lock can be made when none can be installed yet: then uv comes alone.
$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

clean: ## remove .venv, caches and what runs left behind
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis .coverage* out dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
