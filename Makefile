# Both commands set themselves up: they need Python 3.11 or newer and a network connection the first time.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
WORKERS ?= 2

export RAY_USAGE_STATS_ENABLED ?= 0

.PHONY: demo test test-long lint bench browser faults clean

demo: $(VENV)/.installed  ## run a real sweep and draw its map
	$(VENV)/bin/lop-sweep sweep demo --out $(DEMO)
	$(VENV)/bin/lop-analysis map $(DEMO) --x lr --y depth --out $(DEMO)/map.png
	$(VENV)/bin/lop-analysis curves $(DEMO) --where depth=8 --where lr=0.1,0.8 --out $(DEMO)/curves.png
	$(VENV)/bin/lop-analysis report $(DEMO) --out $(DEMO)/report.html
	@echo "The map: $(DEMO)/map.png   The curves: $(DEMO)/curves.png   A page to explore: $(DEMO)/report.html"
	@echo "The results: $(DEMO)/tasks, $(DEMO)/cells"

test: $(VENV)/.installed browser  ## run all tests
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile

test-long: $(VENV)/.installed browser faults  ## run the tests that take minutes, three quarters of an hour in all
	$(VENV)/bin/python -m pytest -m long --durations=0

browser: $(VENV)/.installed  ## a Chromium for the report's tests: the system's, else the distribution's, else Playwright's own
	@PATH="$(abspath $(VENV))/bin:$$PATH" sh .ci/browser

faults: $(VENV)/.installed  ## what the long tests disturb sweeps with
	@PATH="$(abspath $(VENV))/bin:$$PATH" sh .ci/faults

lint: $(VENV)/.installed  ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(VENV)/.installed  ## everything side by side, in a few minutes; BENCH=--long for all of it
	$(VENV)/bin/python benchmarks/run.py $(BENCH)

clean:
	rm -rf $(VENV) $(DEMO)

# PyTorch first and pinned: on a machine where its CPU build is at hand, nothing larger is fetched.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
