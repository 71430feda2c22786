# Everything runs in this folder's own .venv. `make demo` installs what the demo needs (requirements.lock); the first target
# that tests or checks adds the rest (tests/requirements.lock).
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check
# Two at a time: most of the time is waiting for real processes. Each file's tests stay together, with their servers.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
# Unit tests that import Keras, TensorFlow or OpenVINO.
MODEL_TESTS := tests/unit/trainer/fitting tests/unit/trainer/importing tests/unit/trainer/network \
	tests/unit/trainer/publishing tests/unit/trainer/evaluation/test_evaluate_artifact.py \
	tests/unit/worker/scoring/test_scorer.py tests/unit/worker/scoring/test_activation_map.py \
	tests/unit/producer/browse/rendering/test_maps.py

.PHONY: help demo fast test test-all test-variants test-db test-worker test-producer test-trainer test-faults soak \
	test-containers test-torch check bench bench-gpu bench-parts bench-scale fuzz audit lock clean

help:
	@echo "make demo             Draw synthetic radiographs, fit a small model, score them and write a report (under 6 minutes)."
	@echo "make fast             Run the unit tests that need no server and no model (under 2 minutes)."
	@echo "make test             Run the quick suite on real servers from pip packages (under 10 minutes on two cores)."
	@echo "make test-all         Run the slow tests that make test leaves out; CI runs both (10 minutes)."
	@echo "make test-variants    Repeat tests on other servers, with another backend of Keras or a larger DenseNet."
	@echo "make test-db          Run the quick unit and integration tests of one package; also test-worker, test-producer"
	@echo "                      and test-trainer. ARGS='-m slow' runs its slow tests."
	@echo "make test-faults      Try every fault, with one worker and with two: kills, outages, hostile input (1.5 hours)."
	@echo "make soak             Score 20,000 scans while workers are killed, and compare with a quiet run (a quarter of an hour)."
	@echo "make fuzz             Feed 750,000 mutations of images, films, tables and messages to the readers (20 minutes)."
	@echo "make test-containers  Build the images and run docker/compose.yaml on a real Docker engine (half an hour)."
	@echo "make test-torch       Compare imported networks with PyTorch and torchxrayvision, which it installs in .venv/torch (a"
	@echo "                      download of 2.5 GB, 4.6 GB on disk, on Linux). TXV=FILE and CHEXNET=FILE compare the published"
	@echo "                      weights in these files with the scores that their publishers state."
	@echo "make check            Run ruff, mypy, import-linter and codespell."
	@echo "make audit            Check every lock, and look its packages up in the advisories of known vulnerabilities."
	@echo "make bench            Measure scans per second against Ray Data, a plain script and the machine's limits, on the"
	@echo "                      radiographs of ../shared/data (over an hour)."
	@echo "make bench-gpu        Measure a GPU: decoding, model and ledger alone, then together, with one process and several."
	@echo "make bench-parts      Measure speed and memory of one part after the other (half an hour)."
	@echo "make bench-scale      Measure how queue, database and memory scale to 8 workers and 100,000 scans (an hour, on a quiet"
	@echo "                      machine)."
	@echo "make lock             Renew every lock from pyproject.toml (needs uv)."
	@echo "make clean            Delete .venv, the demo and what was built."

.venv/demo.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nightread needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	@echo "Installing the locked requirements into .venv (a minute on first use)."
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	@# Headers that only a compiler reads are a third of a gigabyte.
	@rm -rf .venv/lib/python3*/site-packages/tensorflow/include
	@touch $@

.venv/test.installed: .venv/demo.installed tests/requirements.lock
	@echo "Installing the locked requirements of the tests into .venv (a minute on first use)."
	$(INSTALL) --require-hashes -r tests/requirements.lock
	@touch $@

# Without an export: OpenVINO and its converters are not installed for the demo.
demo: export CXR_HOME = $(CURDIR)/$(DEMO)/home
demo: .venv/demo.installed
	$(BIN)/trainer phantoms --out $(DEMO)/scans
	@if ls $(DEMO)/home/models/*/manifest.json >/dev/null 2>&1; then echo "The demo's model exists already."; \
	else $(BIN)/trainer fit --csv $(DEMO)/scans/sample_labels.csv --name demo --size 64 --epochs 9 --batch-size 16 --no-export; fi
	$(BIN)/producer run --csv $(DEMO)/scans/sample_labels.csv --out $(DEMO)/report
	$(BIN)/trainer phantoms --out $(DEMO)/dicom --patients 7 --seed 4 --dicom
	@echo "Now the same model scores a small night of DICOM. The files beside the films are there to be rejected, each for its"
	@echo "own reason, so the next command ends with 3: done, with rejects."
	@# In a ledger of its own, so that the latest run of the demo's stays the labelled one.
	CXR_HOME="$(CURDIR)/$(DEMO)/dicom/home" CXR_MODEL_DIR="$(CURDIR)/$(DEMO)/home/models" \
		$(BIN)/producer run --images $(DEMO)/dicom/images --out $(DEMO)/dicom/report || [ $$? -eq 3 ]
	@$(BIN)/python tests/acceptance/check_demo.py $(DEMO)

fast: .venv/test.installed
	$(PYTEST) tests/unit $(MODEL_TESTS:%=--ignore=%) $(ARGS)

test: .venv/test.installed
	$(PYTEST) $(ARGS)

test-all: .venv/test.installed
	$(PYTEST) -m "slow and not variant" $(ARGS)

test-variants: .venv/test.installed
	$(PYTEST) -m variant $(ARGS)

test-db test-worker test-producer test-trainer: test-%: .venv/test.installed
	$(PYTEST) $(wildcard tests/unit/$* tests/integration/$*) $(ARGS)

# Every fault, with one worker and with two. FAULT_SEED=N repeats the moments of an earlier run.
test-faults: .venv/test.installed
	$(BIN)/python -m pytest tests/faults -m "not soak" --numprocesses 2 --dist loadscope $(ARGS)

# SOAK_SCANS scans, a kill every 5 s and a restart of the broker every 30 s.
soak: .venv/test.installed
	$(BIN)/python -m pytest tests/faults/test_soak.py -m soak --capture=no

# Needs a Docker engine that this user may use; builds what it runs.
test-containers: .venv/test.installed
	$(BIN)/python -m pytest tests/containers --maxfail=1 --timeout=1800

# PyTorch has an environment of its own, because one process with PyTorch and TensorFlow in it may crash. Its lock leaves
# out packages of CUDA that PyTorch's wheel needs on no CPU, so nothing else may be installed with it.
.venv/torch.installed: tests/torch/requirements.lock
	@echo "Installing PyTorch and torchxrayvision into .venv/torch (a few minutes)."
	$(PYTHON) -m venv .venv/torch
	.venv/torch/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

test-torch: .venv/test.installed .venv/torch.installed
	$(BIN)/python -m pytest tests/torch --capture=no --timeout=1800 $(ARGS)

# Guided by atheris, which has a lock of its own: it has wheels for few platforms.
fuzz: .venv/test.installed
	$(INSTALL) --require-hashes -r tests/fuzz/requirements.lock
	$(BIN)/python -m tests.fuzz.fuzz

# The auditor has a venv of its own, so that it is not among what is audited. Where it cannot be installed, only the locks
# are checked.
audit: .venv/test.installed
	@$(PYTHON) -m venv .venv/audit && .venv/audit/bin/pip install --quiet --disable-pip-version-check \
		--require-hashes -r .ci/audit.lock || echo "The auditor cannot be installed here."
	$(BIN)/python .ci/audit.py --tool .venv/audit/bin/pip-audit

check: .venv/test.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: .venv/test.installed
	$(BIN)/python -m tests.benchmarks.bench_throughput

# On the backend of Keras that KERAS_BACKEND names.
bench-gpu: .venv/test.installed
	$(BIN)/python -m tests.benchmarks.bench_gpu

bench-parts: .venv/test.installed
	$(BIN)/python -m tests.benchmarks.bench_score_layout
	$(BIN)/python -m tests.benchmarks.bench_enqueue
	$(BIN)/python -m tests.benchmarks.bench_headers
	$(BIN)/python -m tests.benchmarks.bench_sql
	$(BIN)/python -m tests.benchmarks.bench_export
	$(BIN)/python -m tests.benchmarks.bench_s3
	$(BIN)/python -m tests.benchmarks.bench_fit
	$(BIN)/python -m tests.benchmarks.bench_rendering
	$(BIN)/python -m tests.benchmarks.bench_dicom
	$(BIN)/python -m tests.benchmarks.bench_report
	$(BIN)/python -m tests.benchmarks.bench_intervals
	$(BIN)/python -m tests.benchmarks.bench_browse

# SCALE="--scans 1000 --workers 1 2 --parts fleets" takes two minutes.
bench-scale: .venv/test.installed
	$(BIN)/python -m tests.benchmarks.bench_scale $(SCALE)

# The locks name no package index: pip and uv use the one that they are configured for. The tests' lock is the largest, and
# the others take their versions from it.
COMPILE = uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --no-header --quiet
LOCK = $(COMPILE) --constraint tests/requirements.lock
# Not needed to import PyTorch and to compute on a CPU: half a gigabyte of what is downloaded.
NO_GPU = $(foreach package,cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cusolver nvidia-nvtx triton,--no-emit-package $(package))
lock:
	$(COMPILE) --upgrade pyproject.toml --extra worker --extra trainer --extra pandas --extra browse --group build --group test \
		--group check -o tests/requirements.lock
	$(LOCK) pyproject.toml --extra worker --extra fit --extra pandas --extra browse --group build -o requirements.lock
	$(LOCK) pyproject.toml -o docker/requirements/producer.lock
	$(LOCK) pyproject.toml --extra worker --extra openvino -o docker/requirements/worker.lock
	$(LOCK) pyproject.toml --extra worker-gpu -o docker/requirements/worker-gpu.lock
	$(LOCK) pyproject.toml --extra worker --extra trainer -o docker/requirements/trainer.lock
	$(LOCK) --group build -o docker/requirements/build.lock
	$(LOCK) --group peers -o tests/benchmarks/requirements.lock
	$(LOCK) --group torch $(NO_GPU) -o tests/torch/requirements.lock
	echo 'atheris==3.0.0' | $(COMPILE) -o tests/fuzz/requirements.lock -
	echo 'pip-audit>=2.9' | $(LOCK) -o .ci/audit.lock -

clean:
	rm -rf .venv $(DEMO) build *.egg-info
