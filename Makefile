# make demo, make test: each does all its own set-up in .venv.  make help: the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(READY) ## make .venv with every pinned package

$(READY): requirements/pc.txt requirements/check_machine.sh pyproject.toml
	@sh requirements/check_machine.sh "$(PYTHON)"
	@echo "Setting up $(VENV) (some minutes; 3 GB or more)"
	@test -x $(RUN)python || "$(PYTHON)" -m venv $(VENV)
	@$(RUN)python -m pip install --disable-pip-version-check -r requirements/pc.txt
	@$(RUN)python -m pip install --quiet --disable-pip-version-check --no-deps finn-plus==1.6.1
	@$(RUN)python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## build the accelerator, prove it on a photograph, stream faces (ARGS="--source 0" for a camera)
	@$(RUN)facedet demo $(ARGS)

test: $(READY) ## lint and every test
	@$(RUN)ruff check . && $(RUN)ruff format --check .
	@$(RUN)mypy
	@$(RUN)pytest $(ARGS)

lint: $(READY) ## ruff and mypy alone
	@$(RUN)ruff check . && $(RUN)ruff format --check . && $(RUN)mypy

bench: $(READY) ## the golden engine beside plain QONNX execution, in one run
	@$(RUN)python benchmarks/golden.py $(ARGS)

clean: ## remove what was built (not .venv)
	rm -rf build .pytest_cache .ruff_cache .mypy_cache .hypothesis
