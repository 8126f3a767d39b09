# Every target sets up .venv first, with uv where it is installed, else with venv and pip.
#   make test PYTHON=python3.12                  the interpreter for a new .venv
#   make bake ARGS="license=Apache-2.0"          answers other than the defaults, for build/project

UV := $(shell uv --version 2>/dev/null)
INSTALLED := .venv/installed

.PHONY: demo test test-all bake lint bench torture

demo: $(INSTALLED)
	.venv/bin/python tools/demo.py

test: $(INSTALLED)
	.venv/bin/python -m tox run -e lint,template,generated215,generated221,tf215,tf221

test-all: $(INSTALLED)
	.venv/bin/python -m tox run

bake: $(INSTALLED)
	.venv/bin/python tools/bake.py build project_slug=project package_name=my_experiment $(ARGS)

lint: $(INSTALLED)
	.venv/bin/python -m tox run -e lint

bench: $(INSTALLED)
	.venv/bin/python -m tox run -e bench

torture: $(INSTALLED)
	.venv/bin/python -m tox run -e torture -- $(or $(ARGS),--kills 100)

$(INSTALLED): pyproject.toml
ifdef UV
	uv venv --allow-existing --python "$(or $(PYTHON),>=3.11)" .venv
	uv pip install --python .venv --group dev
else
	"$(or $(PYTHON),python3)" -m venv .venv
	.venv/bin/python -m pip install --upgrade pip  # older ones cannot read dependency groups
	.venv/bin/python -m pip install --group dev
endif
	touch $@
