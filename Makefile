# All targets set up $(VENV) first. This needs Python 3.11 or newer and, the first time, a network connection.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
SITE ?= site
WORKERS ?= 2

export RAY_USAGE_STATS_ENABLED ?= 0

.PHONY: demo test test-long lint docs bench release-check browser faults clean

demo: $(VENV)/.package  ## run a real sweep and draw its map
	$(VENV)/bin/lop-sweep sweep demo --out $(DEMO)
	$(VENV)/bin/lop-analysis map $(DEMO) --x lr --y depth --out $(DEMO)/map.png
	$(VENV)/bin/lop-analysis curves $(DEMO) --where depth=8 --where lr=0.1,0.8 --out $(DEMO)/curves.png
	$(VENV)/bin/lop-analysis report $(DEMO) --out $(DEMO)/report.html
	@echo "The map: $(DEMO)/map.png   The curves: $(DEMO)/curves.png   A page to explore: $(DEMO)/report.html"
	@echo "The results: $(DEMO)/tasks, $(DEMO)/cells"

test: $(VENV)/.installed browser  ## run all tests
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-long: $(VENV)/.installed browser faults  ## run the tests that take minutes each, about an hour in total
	$(VENV)/bin/python -m pytest -m long --durations=0

browser: $(VENV)/.installed  ## find or install a Chromium for the report's tests: the system's, the distribution's or Playwright's
	@PATH="$(abspath $(VENV))/bin:$$PATH" sh .ci/browser

faults: $(VENV)/.installed  ## find or install the tools of the long tests
	@PATH="$(abspath $(VENV))/bin:$$PATH" sh .ci/faults
	@PATH="$(abspath $(VENV))/bin:$$PATH" sh .ci/mlflow

lint: $(VENV)/.installed  ## style, types, imports and spelling
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/codespell

docs: $(VENV)/.installed  ## write the documentation site to site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet --site-dir $(SITE)
	@echo "The site: $(SITE)/index.html"

bench: $(VENV)/.installed  ## measure speed side by side, in a few minutes; BENCH=--long for everything
	$(VENV)/bin/python benchmarks/run.py $(BENCH)

release-check: $(VENV)/.installed  ## build sdist and wheel and try them in clean environments; nothing is uploaded
	$(VENV)/bin/python tools/release.py $(RELEASE)

clean:
	rm -rf $(VENV) $(DEMO) $(SITE)

# What a demo needs. PyTorch first and pinned: where its CPU build is available, nothing larger is downloaded.
$(VENV)/.package: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

# What development needs besides.
$(VENV)/.installed: $(VENV)/.package
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	touch $@
