# make run    set everything up and fine-tune EfficientNet-Lite0 on real digits
# make test   set everything up and pass the tests
# Both are safe to run twice: what is installed stays.

PYTHON := $(shell for p in python3 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)

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

.venv/users: requirements.txt
	$(if $(PYTHON),,$(error no Python 3.11 or 3.12 on this machine: install one))
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --requirement requirements.txt
	@touch $@

.venv/developers: .venv/users requirements-dev.txt
	.venv/bin/python -m pip install --quiet --requirement requirements-dev.txt
	@touch $@
