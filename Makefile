# Needs Python 3.11 or newer and git; everything else is installed into .venv from the locked files.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command 'make lock' --no-emit-package mlflow-actions-bridge
# What the base image of the tracking server has already.
IN_MLFLOW := blinker click colorama flask itsdangerous jinja2 markupsafe python-dateutil six typing-extensions tzdata urllib3 werkzeug

# Tests that start no run of the workflow.
OF_IMAGES := tests/e2e/test_bridge_image.py tests/e2e/test_compose.py tests/e2e/test_tracking_image.py

.PHONY: help setup demo test test-runs test-others proof bench bench-pages bench-accept bench-images check docs format lock clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup: $(BIN)/.ready ## Make .venv with the locked dependencies

$(BIN)/.ready: requirements/uv.txt requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Register a model in MLflow and watch it become an image; KEEP=1 leaves everything running (needs Docker for the image)
	$(BIN)/python -m tests.loopback.demo $(if $(KEEP),--keep)

test: setup ## Run all tests that this machine can run, in two halves of about the same length side by side
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target test-runs test-others

test-runs: setup
	$(BIN)/python -m pytest tests/e2e $(addprefix --ignore=,$(OF_IMAGES))

test-others: setup
	$(BIN)/python -m pytest tests/integration tests/unit $(OF_IMAGES)

proof: setup ## Kill the bridge 200 times and count what is lost (PROOF="--seed 2 --only SQLite" for another run)
	$(BIN)/python -m tests.proof $(PROOF)

bench: setup ## Measure pages, deliveries and images (IMAGES=--prune: removes all other images from the engine)
	$(MAKE) --no-print-directory --keep-going --jobs 1 bench-pages bench-accept bench-images

bench-pages: setup
	$(BIN)/python -m bench.pages

bench-accept: setup
	$(BIN)/python -m bench.accept $(BENCH)

bench-images: setup
	$(BIN)/python -m bench.images $(IMAGES)

check: setup ## Format, lint, types, workflow audits
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/zizmor --quiet --offline --pedantic .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/act --validate --strict

docs: setup ## Write docs/reference.md anew from the code
	$(BIN)/python docs/reference.py

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Before a release, also update PACKAGES_UNTIL in bridge/image/engine.py, the newest packages that MLflow's builder installs.
lock: ## Lock the dependencies again, to their newest versions
	$(LOCK) --upgrade pyproject.toml --output-file requirements/runtime.txt
	$(LOCK) --upgrade --constraint requirements/runtime.txt --extra image pyproject.toml --output-file requirements/image.txt
	$(LOCK) --upgrade --constraint requirements/image.txt --extra image --extra dev pyproject.toml --output-file requirements/dev.txt
	echo uv | $(LOCK) --upgrade --constraint requirements/dev.txt - --output-file requirements/uv.txt
	$(LOCK) --constraint requirements/dev.txt $(foreach name,$(IN_MLFLOW),--no-emit-package $(name)) \
		tracking/requirements.in --output-file tracking/requirements.txt

clean: ## Remove what make made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
