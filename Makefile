# Every target sets up what it needs by itself. GNU make 3.81 (macOS) is enough.

BIN := .venv/bin
REELFARM := $(BIN)/reelfarm

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make the .venv with everything pinned (done by itself; PYTHON=python3.12 picks one)
	@PYTHON='$(PYTHON)' sh .ci/setup.sh

.PHONY: demo
demo: setup ## Start a farm, encode a clip, check what came out, stop (FILE=clip.mp4 for your own)
	@$(REELFARM) demo $${FILE:+"$$FILE"}

.PHONY: run
run: setup ## Serve at http://127.0.0.1:8000 until Ctrl-C
	@$(REELFARM) up

.PHONY: upload
upload: setup ## Upload FILE=clip.mp4 to the running farm and wait until it is ready
	@test -n "$$FILE" || { echo 'Say which file: make upload FILE=clip.mp4' >&2; exit 2; }
	@$(REELFARM) upload "$$FILE" --wait

.PHONY: status
status: setup ## Say how the running farm is, and list its newest videos
	@$(REELFARM) status

.PHONY: top
top: setup ## Watch the running farm: queues, pools, workers, failures
	@$(REELFARM) top

.PHONY: cancel
cancel: setup ## Stop working on the video with this ID=…
	@test -n "$$ID" || { echo 'Say which video: make cancel ID=…' >&2; exit 2; }
	@$(REELFARM) cancel "$$ID"

.PHONY: retry
retry: setup ## Make the video with this ID=… anew, keeping what is finished
	@test -n "$$ID" || { echo 'Say which video: make retry ID=…' >&2; exit 2; }
	@$(REELFARM) retry "$$ID" --wait

.PHONY: logs
logs: setup ## Tell the story of the video with this ID=… (FOLLOW=1 until it ends)
	@test -n "$$ID" || { echo 'Say which video: make logs ID=…' >&2; exit 2; }
	@$(REELFARM) logs "$$ID" $${FOLLOW:+--follow}

.PHONY: dlq
dlq: setup ## List what the farm could not make (dead letters)
	@$(REELFARM) dlq

.PHONY: dlq-show
dlq-show: setup ## Show the dead letter with this ID=… and its evidence
	@test -n "$$ID" || { echo 'Say which dead letter: make dlq-show ID=…' >&2; exit 2; }
	@$(REELFARM) dlq show "$$ID"

.PHONY: dlq-retry
dlq-retry: setup ## Make the video of the dead letter with this ID=… anew
	@test -n "$$ID" || { echo 'Say which dead letter: make dlq-retry ID=…' >&2; exit 2; }
	@$(REELFARM) dlq retry "$$ID" --wait

.PHONY: worker
worker: setup ## Run more workers, given the farm's S3 and Redis settings (POOL=cpu for one pool)
	@$(REELFARM) worker $${POOL:+--pool "$$POOL"}

.PHONY: worker-gpu
worker-gpu: setup ## Run workers on this host's GPUs, given the farm's S3 and Redis settings
	@$(REELFARM) worker --pool gpu

.PHONY: scale
scale: setup ## Have N=4 workers of POOL=cpu on each host; N=auto leaves it to the policy
	@test -n "$$POOL" && test -n "$$N" || { echo 'Say which pool and how many: make scale POOL=cpu N=4' >&2; exit 2; }
	@$(REELFARM) scale "$$POOL" "$$N"

.PHONY: drain
drain: setup ## Have the workers of this host (or HOST=…) finish and go, until make resume HOST=…
	@$(REELFARM) drain $(if $(filter command,$(origin HOST)),"$$HOST")

.PHONY: pause
pause: setup ## Begin nothing new (POOL=cpu for one pool); uploads are still taken
	@$(REELFARM) pause $${POOL:+"$$POOL"}

.PHONY: resume
resume: setup ## Go on with what is paused (POOL=cpu), or let the drained HOST=… work again
	@$(REELFARM) resume $${POOL:+"$$POOL"} $(if $(filter command,$(origin HOST)),--host "$$HOST")

.PHONY: backup
backup: setup ## Write what the farm remembers (no media) into FILE=farm.tar.gz
	@test -n "$$FILE" || { echo 'Say into which file: make backup FILE=farm.tar.gz' >&2; exit 2; }
	@$(REELFARM) backup "$$FILE"

.PHONY: restore
restore: setup ## Put back what is missing of the backup in FILE=farm.tar.gz
	@test -n "$$FILE" || { echo 'Say which backup: make restore FILE=farm.tar.gz' >&2; exit 2; }
	@$(REELFARM) restore "$$FILE"

.PHONY: purge
purge: setup ## Delete videos that ended more than OLDER=30d ago (STATUS=errored,canceled, DRY=1)
	@test -n "$$OLDER" || { echo 'Say how old they are: make purge OLDER=30d' >&2; exit 2; }
	@$(REELFARM) purge --older-than "$$OLDER" $${STATUS:+--status "$$STATUS"} $${DRY:+--dry-run}

.PHONY: doctor
doctor: setup ## Check binaries, storage, Redis and disk, and say how to mend them
	@$(REELFARM) doctor

.PHONY: test
test: check ## Run every check and test
	@$(BIN)/pytest -n 2

.PHONY: unit
unit: setup ## Run the tests that need no server
	@$(BIN)/pytest -n 2 tests/unit

.PHONY: e2e
e2e: setup ## Run the end-to-end and fault tests
	@$(BIN)/pytest -n 2 tests/e2e tests/chaos

.PHONY: chaos
chaos: setup ## Break a running farm in every way we know, for some minutes
	@$(BIN)/pytest -n 2 -m 'long or not long' tests/chaos tests/e2e/test_hostile.py tests/e2e/test_fuzz.py \
	    tests/e2e/test_stalled.py tests/integration/test_board_model.py \
	    tests/integration/test_no_flood.py

.PHONY: soak
soak: setup ## Films through a farm broken at random (VIDEOS=50 FAULTS=100 EVERY=4 SEED=1)
	@$(BIN)/python -m tests.chaos.soak $${VIDEOS:+--videos "$$VIDEOS"} $${FAULTS:+--faults "$$FAULTS"} \
	    $${EVERY:+--every "$$EVERY"} $${SEED:+--seed "$$SEED"} $${JSON:+--json "$$JSON"}

.PHONY: bench
bench: setup ## Measure what the farm costs and how fast it is (WHAT=playable, QUICK=1)
	@$(BIN)/python -m benchmarks $(WHAT) $(if $(QUICK),--quick)

.PHONY: simulate
simulate: setup ## Compare scaling policies by simulation (QUICK=1); tables, JSON and a picture
	@$(BIN)/python -m simulation compare $(if $(QUICK),--quick)

.PHONY: check
check: setup ## Lint, formatting, types, and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: lint
lint: setup ## Lint only
	@$(BIN)/ruff check .

.PHONY: format
format: setup ## Format the code and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: lock
lock: ## Pin the dependencies of pyproject.toml anew (needs uv)
	@command -v uv >/dev/null || { echo 'uv is needed to pin: pip install uv' >&2; exit 2; }
	@uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
	    --python-version 3.11 --extra dev pyproject.toml --output-file requirements.lock
	@echo hatchling | uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	    --no-emit-index-url --python-version 3.11 --constraint requirements.lock pyproject.toml - \
	    --output-file deploy/container/requirements.lock

.PHONY: clean
clean: ## Remove the .venv and caches; the data in .reelfarm stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
