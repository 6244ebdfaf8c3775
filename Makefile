# Two commands matter: `make demo` and `make test`. Both prepare everything they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready

# Hundreds of processes start in the tests; one that may not keep what it has compiled takes half a second longer.
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup demo test lint style types unit realtime interop soak rows rows-soak rows-bench office soak-system ratio bench system-python docs lock format clean

setup: $(STAMP)

$(STAMP): pyproject.toml requirements/dev.txt scripts/setup
	PYTHON=$(PYTHON) scripts/setup $(VENV)
	@touch $(STAMP)

demo: setup
	$(BIN)/softswitch demo

UNIT := not interop and not soak and not realtime
REALTIME := $(BIN)/pytest -q -m "realtime and not interop and not soak" -n 3 --dist loadfile
INTEROP := $(BIN)/pytest -q -m "interop and not soak" -n 6 --dist loadgroup --no-loadscope-reorder

# One after the other: what hears sound needs the processors. What it leaves of them, and that is a third, is
# for what only reckons: types, bent messages, simulated days. Who has either alone: `make unit`, `make types`.
test: style
	$(BIN)/pytest -q -m "$(UNIT) and not unhurried" -n 2
	scripts/beside '$(BIN)/mypy && $(BIN)/pytest -q -m "unhurried and not soak" -n 2' sh -c '$(REALTIME) && $(INTEROP)'
	@$(MAKE) --no-print-directory ratio

lint: style types

style: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo

types: setup
	$(BIN)/mypy

unit: setup
	$(BIN)/pytest -q -m "$(UNIT)" -n 2

realtime: setup
	$(REALTIME)  # half a core for each

interop: setup
	$(INTEROP)  # they wait for sound more than they work

soak: setup
	$(BIN)/pytest -q -m soak
	SOFTSWITCH_SCHEMA_EXAMPLES=150 $(BIN)/pytest -q tests/api/test_schema.py
	SOFTSWITCH_DATABASES=both $(BIN)/pytest -q tests/api --ignore tests/api/test_schema.py -n 2

# The reliability programme: each row prints its figure (docs/reliability.md). `rows` takes six to seven minutes;
# rows-soak has the full counts; rows-bench the loads, which need a machine of their own for ten minutes.
ROWS := tests/reliability tests/sip/test_torture_wire.py tests/sip/test_strangers.py tests/sip/test_linear_time.py \
	tests/sip/test_registration.py tests/call/test_guard.py tests/call/test_trunk_scenarios.py
ROWS_OF_SOCKETS := tests/transport/test_tcp.py tests/transport/test_tls.py tests/transport/test_resolver.py \
	tests/transport/test_overload_model.py tests/store/test_*_rows.py tests/api/test_rows.py \
	tests/api/test_injection.py tests/interop/test_vanishing.py tests/interop/test_sipvicious.py \
	tests/interop/test_session_expiry.py tests/interop/test_sipp.py tests/media/test_orphans.py

rows: setup
	$(BIN)/pytest -q -m "not soak" -n 2 $(ROWS)
	$(BIN)/pytest -q -m "not soak" $(ROWS_OF_SOCKETS)

rows-soak: setup
	$(BIN)/pytest -q -m soak $(ROWS) $(ROWS_OF_SOCKETS) tests/soak/test_slow_connections.py tests/soak/test_rtp_bleed.py

rows-bench: setup
	$(BIN)/python bench/overload.py
	$(BIN)/python bench/registrations.py --storms 5
	$(BIN)/python bench/failover.py

# Ten minutes of a call centre on real sockets: 100 agents, 500 callers.
office: setup
	$(BIN)/pytest -q -s -m soak tests/soak/test_real_office.py

# The whole system from seeds: SEEDS=4400 CALLS=125 make soak-system is a million calls; SEED=N replays one.
soak-system: setup
	$(BIN)/pytest -q -s -m soak tests/soak/test_whole_system.py

# How far from C, printed at every run; asserts nothing, takes five seconds.
ratio: setup
	$(BIN)/python bench/ratio.py

# Everything, and a report that compares it with the last run. TARGET=sip:host:port DIAL=number runs the
# scenarios against any other server; ONLY=load,scenarios/set-up is a part; QUICK=1 is all of it in little.
bench: setup
	$(BIN)/python -m bench --html bench/out/bench.html $(if $(ONLY),--only "$(ONLY)") \
		$(if $(QUICK),--quick,$(if $(TARGET),,--save)) $(if $(TARGET),--target $(TARGET) --dial "$(DIAL)")

# What Debian's users run: the bench measures a call on it too, once there is this environment.
system-python: setup
	PYTHON=/usr/bin/python3 scripts/setup .venv-system

docs: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup
	cd requirements && ../$(BIN)/pip-compile -q --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-options -o runtime.txt runtime.in
	cd requirements && ../$(BIN)/pip-compile -q --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-options -o dev.txt dev.in
	cd requirements && ../$(BIN)/pip-compile -q --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-options -o docs.txt docs.in

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
