# make demo         edit a bundled clip with a bundled reference, on any machine
# make test         everything the suite checks
# make train-tiny   train the built-in model from nothing, about two and a half hours on two cores; SMOKE=1: a few steps, a minute
# make evaluate     how often the built-in model does what it is asked
# make bench        what the engine costs beside other ways to do the same, less than ten minutes on two cores
# make ablations    what each idea of the paper is worth in small, about three hours on one core; SMOKE=1: some minutes
# All of them set up a virtual environment of their own first.

PYTHON ?= python3
VENV ?= .venv
# Without an NVIDIA GPU a version is asked for that has a CPU build where the index offers one; PyPI's own for Linux brings
# CUDA all the same. TORCH="..." takes any arguments of `pip install`, an index of CPU builds included. An environment that
# has torch already keeps it.
TORCH ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo torch || echo torch==2.13.0)
# The oldest supported versions; the parts of the suite that depend on them run with these too.
OLDEST := transformers==4.57.6 tokenizers==0.22.2 huggingface-hub==0.36.2 diffusers==0.35.2

BIN := $(VENV)/bin
OLD := build/oldest
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test lint test-current test-oldest train-tiny evaluate bench ablations clean
.DELETE_ON_ERROR:

demo: $(VENV)/.ready
	@mkdir -p out
	@$(BIN)/python -m loom_core.cli.generate \
	  --source demo/shapes.mp4 --reference demo/maroon.png \
	  --prompt "Use the background of @Image 1." --compare --output out/demo.mp4
	@echo "The edited clip is out/demo.mp4; out/demo_compare.mp4 shows it beside its source."

test: lint test-current test-oldest

lint: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# the folder may have any name, a package may not
	@mkdir -p build && ln -sfn .. build/pack
	cd build && $(abspath $(BIN))/mypy --config-file ../pyproject.toml -p pack.nodes -p pack.loom_core

test-current: $(VENV)/.ready-test
	$(BIN)/python -m pytest

# The same environment with the oldest versions in front of it.
test-oldest: $(VENV)/.ready-test $(OLD)/.ready
	PYTHONPATH=$(OLD) $(BIN)/python -m pytest tests/loom_core/mllm tests/loom_core/vae tests/loom_core/parity tests/loom_core/test_pipeline.py

# A run that was stopped goes on where it was. The smoke run begins anew, and leaves the built-in model as it is.
train-tiny: $(VENV)/.ready
	$(if $(SMOKE),rm -rf build/tiny-smoke)
	PYTHONPATH=. $(BIN)/python scripts/train_tiny.py $(if $(SMOKE),--smoke --work build/tiny-smoke,--work runs/tiny --ship)

evaluate: $(VENV)/.ready
	$(BIN)/python -m loom_core.cli.evaluate --suite tiny

bench: $(VENV)/.ready-test
	$(BIN)/python -m benchmarks

# Finished runs are kept, so that the same command goes on after a stop.
ablations: $(VENV)/.ready
	$(if $(SMOKE),rm -rf build/ablations-smoke)
	$(BIN)/python -m benchmarks.ablations $(if $(SMOKE),--smoke)

$(VENV)/.created:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
	  { echo "found $$($(PYTHON) --version), expected Python 3.10 or newer; to fix: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

# diffusers has the Wan VAE, which the released weights need; loom-tiny does without it.
$(VENV)/.ready: requirements.txt $(VENV)/.created
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -r requirements.txt "diffusers>=0.35"
	@touch $@

$(VENV)/.ready-test: requirements-test.txt $(VENV)/.ready
	$(BIN)/python -m pip install --quiet -r requirements-test.txt
	@touch $@

$(OLD)/.ready: $(VENV)/.created
	rm -rf $(OLD)
	$(BIN)/python -m pip install --quiet --no-deps --target $(OLD) $(OLDEST)
	@touch $@

clean:
	rm -rf $(VENV) build out .pytest_cache .ruff_cache .mypy_cache
