# Needs Python 3.11 or newer and git; everything else is installed into .venv from the locked files.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command 'make lock' --no-emit-package mlflow-actions-bridge
# Packages in the base image of the tracking server.
IN_MLFLOW := blinker click colorama flask itsdangerous jinja2 markupsafe python-dateutil six typing-extensions tzdata urllib3 werkzeug

.PHONY: help setup demo test test-unit test-integration test-e2e coverage proof bench bench-pages bench-accept bench-images bench-runs \
	check docs format lock clean

help: ## Show the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup: $(BIN)/.ready ## Create .venv with the locked dependencies

$(BIN)/.ready: requirements/uv.txt requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Run the demo, from a model in MLflow to its serving image; KEEP=1 keeps everything running (needs Docker for the image)
	$(BIN)/python -m tests.loopback.demo $(if $(KEEP),--keep)

test: setup ## Run all tests that this machine can run (tests/README.md lists what they need)
	$(MAKE) --no-print-directory test-unit
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target test-e2e test-integration

test-unit: setup ## Run the unit tests in two processes
	$(PYTEST) --numprocesses 2 --dist worksteal tests/unit

test-integration: setup ## Run the tests with real servers
	$(PYTEST) tests/integration

test-e2e: setup ## Run the tests with Docker
	$(PYTEST) tests/e2e

coverage: setup ## Run the unit tests and show their branch coverage
	$(PYTEST) --numprocesses 2 --dist worksteal --cov --cov-report=term:skip-covered tests/unit

proof: setup ## Kill the bridge 200 times and count what is lost (PROOF="--seed 2 --only SQLite" for another run)
	$(BIN)/python -m tests.proof $(PROOF)

bench: setup ## Measure pages, deliveries and images (IMAGES=--prune removes all other images from Docker)
	$(MAKE) --no-print-directory --keep-going --jobs 1 bench-pages bench-accept bench-images bench-runs

bench-pages: setup
	$(BIN)/python -m bench.pages

bench-accept: setup
	$(BIN)/python -m bench.accept $(BENCH)

bench-runs: setup ## Measure the jobs and seconds of an event (TREES: checkouts to compare)
	$(BIN)/python -m bench.runs $(TREES)

bench-images: setup
	$(BIN)/python -m bench.images $(IMAGES)

check: setup ## Check format, lint, types and workflows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/zizmor --quiet --offline --pedantic .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/act --validate --strict

docs: setup ## Write docs/reference.md from the code
	$(BIN)/python docs/reference.py

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Before a release, also update PACKAGES_UNTIL in bridge/image/docker.py, the newest packages that MLflow's builder installs.
lock: ## Lock the dependencies at their newest versions
	$(LOCK) --upgrade pyproject.toml --output-file requirements/runtime.txt
	$(LOCK) --upgrade --constraint requirements/runtime.txt --extra image pyproject.toml --output-file requirements/image.txt
	$(LOCK) --upgrade --constraint requirements/image.txt --extra image --extra dev pyproject.toml --output-file requirements/dev.txt
	echo uv | $(LOCK) --upgrade --constraint requirements/dev.txt - --output-file requirements/uv.txt
	$(LOCK) --constraint requirements/dev.txt $(foreach name,$(IN_MLFLOW),--no-emit-package $(name)) \
		tracking/requirements.in --output-file tracking/requirements.txt

clean: ## Remove what make created
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage dist
