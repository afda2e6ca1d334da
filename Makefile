# make demo   set up and start the app on http://127.0.0.1:8000
# make test   set up and run the tests
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin

# Threads that spin while they wait make everything many times slower beside one busy process.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test coverage lint format setup clean

demo: setup
	$(BIN)/spyv4-serve --source demo --port $(PORT)

test: setup
	$(BIN)/python -m pytest -n auto --dist worksteal

coverage: setup
	$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term:skip-covered

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: .venv/.ready

# albumentations brings opencv-python-headless, which overwrites opencv-python and its windows, so
# the latter is installed again last. It needs the system's libGL; a machine without that gets the
# headless build, which lacks windows alone: spyv4-webcam then opens in the browser.
.venv/.ready: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "SPYv4 needs Python 3.11 or newer; choose one with make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --force-reinstall --no-deps opencv-python
	$(BIN)/python -c 'import cv2' 2>/dev/null || $(BIN)/python -m pip install --quiet --constraint requirements.lock --force-reinstall --no-deps opencv-python-headless
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
