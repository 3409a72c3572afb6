# make run    set everything up and fine-tune EfficientNet-Lite0 on real digits
# make test   set everything up and pass the tests
# Both are safe to run twice: what is installed stays. Another interpreter: make run PYTHON=python3.12

PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: run test format

run: .venv/users
	.venv/bin/python digits.py

test: .venv/developers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest

format: .venv/developers
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Wheels alone: a package without one for this Python is named in a line instead of a compiler's pages
.venv/users: requirements.txt
	$(if $(PYTHON),,$(error no Python 3.11 or newer on this machine: install one))
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --only-binary :all: --requirement requirements.txt || { \
		echo "error: requirements.txt does not install on `.venv/bin/python -V`: remove .venv and try another," \
			"such as make run PYTHON=python3.12" >&2; exit 1; }
	@touch $@

.venv/developers: .venv/users requirements-dev.txt
	.venv/bin/python -m pip install --quiet --requirement requirements-dev.txt
	@touch $@
