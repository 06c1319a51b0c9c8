# make help lists the targets; every target sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# ffmpeg: torchcodec's libraries, and the oracle of the tests; torchvision: the video_reader decoder;
# chromium and a font: what the tests look at the report's page with; gcc: the native resize
APT := ffmpeg python3-torchvision chromium fonts-dejavu-core gcc libc6-dev

# A test starts hundreds of processes: where this stood, each would compile our code again.
unexport PYTHONDONTWRITEBYTECODE
# Two files at a time, in their order: the unit tests come last, so that none waits for a long one.
IN_PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo fmt lint test test-fast test-faults docs bench golden clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 14

setup: $(READY) ## .venv with the package, all extras and the development tools; apt packages

$(READY): pyproject.toml .constraints.txt
	@(command -v ffmpeg && command -v chromium && command -v cc && /usr/bin/python3 -c 'import torchvision') >/dev/null 2>&1 || \
	  (echo "installing $(APT) (apt)"; SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$SUDO apt-get update -qq && \
	  $$SUDO apt-get install -y -qq --no-install-recommends $(APT) >/dev/null)
	$(PYTHON) -m venv .venv
	# torch first: a range resolved without it would choose another build
	$(BIN)/pip install -q --disable-pip-version-check -c .constraints.txt torch
	$(BIN)/pip install -q --disable-pip-version-check -c .constraints.txt -e '.[all,dev]'
	@touch $@

data/b1k: | $(READY)
	$(BIN)/predecode sample --out data/b1k

demo: data/b1k ## the main job on a small data set: make it, run, verify, read a few samples back
	$(BIN)/predecode run --src b1k --out shards/
	$(BIN)/predecode verify shards/
	$(BIN)/python -m train_shards shards/

fmt: $(READY) ## format the code
	$(BIN)/ruff format -q .
	$(BIN)/ruff check -q --fix .

lint: $(READY) ## ruff, mypy, hadolint
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/hadolint docs/examples/Dockerfile.*

test: lint ## lint and every test
	$(BIN)/python -m pytest -q $(IN_PARALLEL)

test-fast: $(READY) ## the unit suite
	$(BIN)/python -m pytest -q $(IN_PARALLEL) -m "not slow" tests/unit predecode train_shards

test-faults: $(READY) ## the tests of faults, see docs/reliability.md; make test runs them too
	$(BIN)/python -m pytest -q $(IN_PARALLEL) -m faults tests/unit tests/e2e

docs: $(READY) ## write docs/commands.md from --help, and check links and code blocks of all pages
	$(BIN)/python docs/check.py --write

bench: $(READY) ## every benchmark, beside the stored figures (half an hour; best on an idle machine)
	$(BIN)/python -m benchmarks.bench

golden: $(READY) ## write the golden output of the current format version; review the difference
	PYTHONPATH=. $(BIN)/python tests/golden/make.py

clean: ## remove what the README's commands have made: data, shards, a training run
	rm -rf data shards b1k-shards checkpoints/first
