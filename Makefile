# Two commands do all the set-up on a machine with Python 3.11: `make demo` and `make test`.
# Stamp files keep a second run quick; `make clean` forgets everything.

PYTHON ?= python3
BIN := .venv/bin
SOURCES := zprompt tests docs/_site $(wildcard benchmarks examples integrations)
export NO_MKDOCS_2_WARNING := 1 # Material announces its successor at each build

.PHONY: demo test test-integrations lint fix docs bench bench-codec bench-reader bench-server bench-rag bench-adapters clean

demo: .venv/installed
	$(BIN)/zprompt pull
	$(BIN)/python examples/demo.py

test: .venv/installed-dev
	$(BIN)/python -m pytest

lint: .venv/installed-dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy --strict zprompt
	$(BIN)/pydoclint --quiet zprompt
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet

# The site, in site/; `.venv/bin/mkdocs serve` shows it while you write
docs: .venv/installed-dev
	$(BIN)/mkdocs build --strict

fix: .venv/installed-dev
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# What each way of shortening prompts keeps and costs: make bench ARGS='--limit 50'
bench: .venv/installed-dev
	$(BIN)/zprompt bench --out benchmarks/results $(ARGS)

bench-codec: .venv/installed-dev
	$(BIN)/python -m benchmarks.codec

# Readers to compare: make bench-reader ARGS='--readers FOLDER'
bench-reader: .venv/installed-dev
	$(BIN)/python -m benchmarks.reader $(ARGS)

# A server under 32 clients for two minutes: on an idle machine
bench-server: .venv/installed-dev
	$(BIN)/python -m benchmarks.server $(ARGS)

# The example apps and the adapters, with what they need beside zprompt.
bench-rag: .venv/installed-examples
	$(BIN)/python -m benchmarks.rag $(ARGS)

bench-adapters: .venv/installed-examples
	$(BIN)/python -m benchmarks.adapters $(ARGS)

# Each package of integrations/ in a fresh environment of its own; PACKAGES="langchain" for one of them.
test-integrations:
	PYTHON=$(PYTHON) integrations/test_fresh.sh $(PACKAGES)

clean:
	rm -rf .venv .pytest_cache .hypothesis .ruff_cache .mypy_cache build site *.egg-info

# torch comes first and by its exact version: where a CPU build of it is on offer, a range would still take a CUDA build.
.venv/torch:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	touch $@

.venv/installed: .venv/torch pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/torch pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ .venv/installed

.venv/installed-examples: .venv/installed-dev examples/requirements.txt
	$(BIN)/python -m pip install --quiet --requirement examples/requirements.txt
	touch $@
