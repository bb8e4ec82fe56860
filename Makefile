# SPDX-License-Identifier: GPL-2.0-only
# make demo    a dashboard replaying a real arm64 WARN storm
# make test    the tests          make lint    format, lint, types, floors
# make test-lab   the tests in booted arm64 kernels (QEMU; docs/lab.md)
# Each sets up what it needs in .venv on first use; constraints.txt pins every version.

VENV := .venv
BIN := $(VENV)/bin
# The newest of these that is at least 3.11; override with make PYTHON=/path/to/python3.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-lab lab-kernels lint format samples samples-lab screenshots examples completions importers bench clean

demo: $(VENV)/.run
	$(BIN)/vmemscope replay

# What takes minutes is left out: $(BIN)/python -m pytest -m long
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto -m "not long"

# LAB="-m 'not long'" leaves out what takes longest.
test-lab: $(VENV)/.dev
	tests/lab/rootfs >/dev/null || test $$? -eq 2 # 2: something is missing, the tests say what
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests/lab $(LAB)

lab-kernels:
	for name in 6.1 6.1-once 6.12; do tests/lab/kernel $$name || exit; done

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Those made of captures; samples-lab records the others, in booted kernels on an idle host.
samples: $(VENV)/.run
	$(BIN)/python -m recordings.samples.make tests/captures

samples-lab: $(VENV)/.dev
	$(BIN)/python -m tests.lab.record_samples

# The pictures in the README are snapshot tests' own, without their web font.
SHOTS := tests/tui/__snapshots__/test_snapshots
screenshots:
	for name in storm-end-160x50 storm-midway-80x24 explain-160x50; do \
		sed '/@font-face/,/}/d' "$(SHOTS)/test_screen[$$name].svg" > docs/$$name.svg; done

examples: $(VENV)/.dev
	$(BIN)/python -m tests.examples
	$(BIN)/python -m tests.docs.pages

# What shells load on TAB, by the names they look for; click writes it.
completions: $(VENV)/.run
	_VMEMSCOPE_COMPLETE=bash_source $(BIN)/vmemscope > docs/completions/vmemscope
	_VMEMSCOPE_COMPLETE=fish_source $(BIN)/vmemscope > docs/completions/vmemscope.fish
	_VMEMSCOPE_COMPLETE=zsh_source $(BIN)/vmemscope > docs/completions/_vmemscope

importers: $(VENV)/.run
	$(BIN)/python -m benchmarks.scenes tests/captures ../shared/captures > docs/importers.md.new
	mv docs/importers.md.new docs/importers.md

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.pieces
	$(BIN)/python -m benchmarks.exports

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "vmemscope needs Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv; Fedora: dnf install python3), or make PYTHON=/path/to/it" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) --editable '.[dev]'
	@touch $@
