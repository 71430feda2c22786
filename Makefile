# Everything runs in this folder's own .venv, built from requirements.lock on first use.
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo

.PHONY: help demo test test-faults soak test-containers check bench bench-gpu bench-parts bench-scale fuzz audit lock clean

help:
	@echo "make demo    synthetic radiographs, a small model, a queue, scores, a report (under 6 minutes)"
	@echo "make test    the test suite, on real servers from pip packages"
	@echo "make test-containers  the images and docker/compose.yaml on a real Docker engine (half an hour)"
	@echo "make test-faults  kills, outages and hostile input, each with one worker and with more (an hour and a half)"
	@echo "make soak    20,000 scans amid kills and restarts, against a quiet run (a quarter of an hour)"
	@echo "make fuzz    450,000 mutations of images, tables and messages (ten minutes)"
	@echo "make audit   known weaknesses of the locked packages, and what stands in the locks"
	@echo "make check   ruff, mypy and import-linter"
	@echo "make bench   scans a second beside Ray Data, a plain script and the machine's limits, on the radiographs of ../shared/data (over an hour)"
	@echo "make bench-gpu  the same of a GPU: decoding, model and ledger alone, then all together, with one process and several"
	@echo "make bench-parts  speed and memory of one part after the other (half an hour)"
	@echo "make bench-scale  how queue, database and memory scale, to 8 workers and 100,000 scans (an hour, and a quiet machine)"
	@echo "make lock    renew requirements.lock from pyproject.toml"

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nightread needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	@echo "installing the locked requirements into .venv (a minute on first use)"
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: export CXR_HOME = $(CURDIR)/$(DEMO)/home
demo: .venv/installed
	$(BIN)/trainer phantoms --out $(DEMO)/scans
	@if ls $(DEMO)/home/models/*/manifest.json >/dev/null 2>&1; then echo "the demo's model is there already"; \
	else $(BIN)/trainer fit --csv $(DEMO)/scans/sample_labels.csv --name demo --size 64 --epochs 9 --batch-size 16; fi
	$(BIN)/producer run --csv $(DEMO)/scans/sample_labels.csv --out $(DEMO)/report
	$(BIN)/python tests/acceptance/check_demo.py $(DEMO)

# Two at a time: most of the time is waiting for real processes. Each file's tests stay together, with their servers.
test: .venv/installed
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "short or not fault"

# Every fault, with one worker and with more. FAULT_SEED=N repeats a run's moments.
test-faults: .venv/installed
	$(BIN)/python -m pytest tests/faults -m "not soak" --numprocesses 2 --dist loadscope

# SOAK_SCANS scans, a kill every 5 s and a restart of the broker every 30 s.
soak: .venv/installed
	$(BIN)/python -m pytest tests/faults/test_soak.py --capture=no

# Needs a Docker engine that this user may speak to; builds what it runs.
test-containers: .venv/installed
	$(BIN)/python -m pytest tests/containers --maxfail=1 --timeout=1800

# Guided by atheris, which is not locked for the rest: it has wheels for few platforms.
fuzz: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/fuzz/requirements.lock
	$(BIN)/python -m tests.fuzz.fuzz

# In a venv of its own: what audits is not among what is audited. Where it cannot be had, the locks alone are judged.
audit: .venv/installed
	@$(PYTHON) -m venv .venv/audit && .venv/audit/bin/pip install --quiet --disable-pip-version-check \
		--require-hashes -r .ci/audit.lock || echo "the auditor cannot be installed here"
	$(BIN)/python .ci/audit.py --tool .venv/audit/bin/pip-audit

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed
	$(BIN)/python -m tests.benchmarks.bench_throughput

# Keras on whatever KERAS_BACKEND says.
bench-gpu: .venv/installed
	$(BIN)/python -m tests.benchmarks.bench_gpu

bench-parts: .venv/installed
	$(BIN)/python -m tests.benchmarks.bench_score_layout
	$(BIN)/python -m tests.benchmarks.bench_enqueue
	$(BIN)/python -m tests.benchmarks.bench_sql
	$(BIN)/python -m tests.benchmarks.bench_export
	$(BIN)/python -m tests.benchmarks.bench_s3
	$(BIN)/python -m tests.benchmarks.bench_fit

# SCALE="--scans 1000 --workers 1 2 --parts fleets" is the two minutes' worth.
bench-scale: .venv/installed
	$(BIN)/python -m tests.benchmarks.bench_scale $(SCALE)

# The locks name no package index: whatever the client at hand is set up for serves them.
COMPILE = uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --no-header --quiet
IMAGE = $(COMPILE) --constraint requirements.lock -o docker/requirements
lock:
	$(COMPILE) --upgrade pyproject.toml --extra worker --extra trainer --extra dev -o requirements.lock
	$(IMAGE)/producer.lock pyproject.toml
	$(IMAGE)/worker.lock pyproject.toml --extra worker --extra openvino
	$(IMAGE)/worker-gpu.lock pyproject.toml --extra worker-gpu
	$(IMAGE)/trainer.lock pyproject.toml --extra worker --extra trainer
	echo 'setuptools>=80' | $(IMAGE)/build.lock -
	echo 'atheris==3.0.0' | $(COMPILE) -o tests/fuzz/requirements.lock -
	echo 'pip-audit>=2.9' | $(COMPILE) --constraint requirements.lock -o .ci/audit.lock -

clean:
	rm -rf .venv $(DEMO) build *.egg-info
