# make demo, make test: each does all its own set-up in .venv.  make help: the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/
ARGS ?=
# Files of tests go to so many processes; each builds the accelerators that its files share.
JOBS ?= 2
PYNQS := pynq-3.0.1 pynq-3.1.2

.DEFAULT_GOAL := help
.PHONY: help setup boards $(PYNQS) armhf demo test test-long lint bench notebooks wheel clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(READY) ## make .venv with every pinned package

$(READY): requirements/pc.txt requirements/check_machine.sh pyproject.toml
	@sh requirements/check_machine.sh "$(PYTHON)"
	@echo "Setting up $(VENV) (some minutes; 3 GB or more)"
	@test -x $(RUN)python || "$(PYTHON)" -m venv $(VENV)
	@$(RUN)python -m pip install --disable-pip-version-check -r requirements/pc.txt
	@$(RUN)python -m pip install --quiet --disable-pip-version-check --no-deps finn-plus==1.6.1 hls4ml==1.3.0
	@$(RUN)python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Each alone, so that `make -j4 setup boards` fetches all at once.
boards: $(PYNQS) armhf ## what the board-side tests need: Python 3.10 with the real pynq (twice), and Debian's ARM Python

$(PYNQS): pynq-%:
	@sh requirements/board.sh $* || [ $$? -eq 3 ]

armhf:
	@sh requirements/armhf.sh || [ $$? -eq 3 ]

demo: $(READY) ## build the accelerator, prove it on a photograph, stream faces (ARGS="--source 0" for a camera)
	@$(RUN)facedet demo $(ARGS)

test: $(READY) boards ## lint and every test, in 2 processes (JOBS=4 for more)
	@$(RUN)ruff check . && $(RUN)ruff format --check .
	@$(RUN)mypy
	@$(RUN)pytest -n $(JOBS) --dist loadfile $(ARGS)

test-long: $(READY) ## what takes minutes at full size: predicted cycles of whole networks against their simulation
	@$(RUN)pytest -m long --timeout 3600 $(ARGS)

lint: $(READY) ## ruff and mypy alone
	@$(RUN)ruff check . && $(RUN)ruff format --check . && $(RUN)mypy

bench: $(READY) ## the golden engine beside plain QONNX execution, the native library beside OpenCV, HLS beside RTL, the compiler beside finn's folding, the pipeline at 100 FPS
	@$(RUN)python benchmarks/golden.py
	@$(RUN)python -m benchmarks.native
	@$(RUN)python -m benchmarks.csim
	@$(RUN)python -m benchmarks.compiler
	@$(RUN)python -m benchmarks.setfolding
	@$(RUN)python -m benchmarks.pipeline

notebooks: $(READY) boards ## execute the notebooks on the software board and keep their new outputs (changes the files)
	@$(RUN)python -m tests.notebooks.refresh

wheel: $(READY) ## the package for the board, in dist/: pure Python, sources and overlays
	@rm -rf dist
	@$(RUN)python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@ls -l dist/*.whl
	@for overlay in bitstreams/*/*/; do \
	  ls $$overlay*.bit >/dev/null 2>&1 && echo "carries $$overlay" || echo "carries $$overlay without its .bit: no Vivado has run for it"; \
	done

clean: ## remove what was built (not .venv)
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
