# The commands of the project. Each is a script in scripts/ that explains itself with --help.
#
# PORT_BASE=25000 moves all ports, VOSTRO_LOCAL=/folder the data, PROFILE=dev takes the quicker build.

.DEFAULT_GOAL := help
.PHONY: help demo run test test-crash test-upgrade bench bench-messaging bench-graphql stop clean gen lint fmt

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

demo: ## play a banking day from nothing and prove it (DATA=../shared/data/berka, DEMO_ARGS='--seed 7')
	@scripts/demo.sh $(if $(DATA),--data $(DATA)) $(DEMO_ARGS)

run: ## keep the bank serving, with its addresses
	@scripts/run.sh $(RUN_ARGS)

test: ## run every test (TEST_ARGS='-p vostro-account')
	@scripts/test.sh $(TEST_ARGS)

test-crash: ## crash the bank wherever it can crash and prove that nothing is lost (SEEDS=100 SEED=0)
	@scripts/test-crash.sh $(or $(SEEDS),100) $(or $(SEED),0)

test-upgrade: ## replace a bank of an earlier release under load (FROM=<commit or program>)
	@scripts/test-upgrade.sh $(FROM)

bench: ## measure transfers beside pgbench (BENCH_ARGS='--clients 64 --hot-account')
	@scripts/bench.sh transfers $(BENCH_ARGS)

bench-messaging: ## measure relay, broker and consumers (BENCH_ARGS='--events 20000 --json')
	@scripts/bench.sh messaging $(BENCH_ARGS)

bench-graphql: ## measure stitching, planning, refusing and 10,000 subscribers (BENCH_ARGS='--subscribers 1000')
	@scripts/bench.sh graphql $(BENCH_ARGS)

stop: ## stop the bank and its servers; data stay
	@scripts/stop.sh

clean: ## stop them and delete data, logs and secrets
	@scripts/stop.sh --clean

gen: ## make everything that is generated and committed again
	@scripts/gen.sh

lint: ## formatting, clippy with warnings denied, scripts
	cargo fmt --all --check
	SQLX_OFFLINE=true cargo clippy --locked --workspace --all-targets -- -D warnings
	shellcheck -x scripts/*.sh scripts/tests/*.sh docs/*.sh clients/*/*.sh tests/*/*.sh .ci/run

fmt: ## format the sources
	cargo fmt --all
