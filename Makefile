# make demo   edit a bundled clip with a bundled reference, on any machine
# make test   everything the suite checks
# Both set up a virtual environment of their own first.

PYTHON ?= python3
VENV ?= .venv
# A plain `torch` brings gigabytes of CUDA on Linux; without a GPU a version with a CPU build is asked for.
# TORCH="torch==X" chooses another; an environment that has torch already keeps it.
TORCH ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo torch || echo torch==2.13.0)
# The oldest transformers that is supported; the suite's MLLM part runs with it too.
OLD_TRANSFORMERS ?= transformers==4.57.6

BIN := $(VENV)/bin
OLD := build/old-transformers
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test lint test-current test-old bench clean

demo: $(VENV)/.ready
	@mkdir -p out
	@$(BIN)/python -m loom_core.cli.generate \
	  --source examples/harbour.mp4 --reference examples/copper.png \
	  --prompt "Paint everything in the colour of @Image 1." --compare --output out/demo.mp4
	@echo "The edited clip is out/demo.mp4; out/demo_compare.mp4 shows it beside its source."

test: lint test-current test-old

lint: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-current: $(VENV)/.ready-test
	$(BIN)/python -m pytest

# The same environment with an older transformers in front of it.
test-old: $(VENV)/.ready-test $(OLD)/.ready
	PYTHONPATH=$(OLD) $(BIN)/python -m pytest tests/loom_core/mllm tests/loom_core/parity tests/loom_core/test_pipeline.py

bench: $(VENV)/.ready-test
	$(BIN)/python -m benchmarks.engine

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# diffusers has the Wan VAE, which the released weights need; loom-tiny does without it.
$(VENV)/.ready: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet -r requirements.txt "diffusers>=0.35"
	@touch $@

$(VENV)/.ready-test: pyproject.toml requirements-test.txt $(VENV)/.ready
	$(BIN)/python -m pip install --quiet -r requirements-test.txt
	@touch $@

$(OLD)/.ready: | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --no-deps --target $(OLD) "$(OLD_TRANSFORMERS)" "tokenizers<0.23" "huggingface-hub<1"
	@touch $@

clean:
	rm -rf $(VENV) build out .pytest_cache .ruff_cache .mypy_cache
