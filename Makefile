# Hearth. The commands a person needs: up demo test check; the rest serve them.
SHELL   := /bin/bash
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DATE    := $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)
STAMP   := -X hearth/internal/version.Version=$(VERSION) -X hearth/internal/version.Commit=$(COMMIT) -X hearth/internal/version.Date=$(DATE)
GOBUILD := go build -ldflags '-s -w $(STAMP)'
TOOLS   := bin/tools
OWN     := $(shell git ls-files -co --exclude-standard '*.go' 2>/dev/null | grep -vE '\.pb\.go$$|\.gw\.go$$')

# The same flags everywhere, so that programs, tests and linters share what is compiled.
export GOFLAGS := -trimpath -buildvcs=false $(filter-out -trimpath -buildvcs=%,$(GOFLAGS))

# Packages in which several goroutines share something: tested under -race too.
RACY := ./p2p/... ./chain/... ./wallet/... ./market/... ./compute/host/... ./compute/client/... ./storage/host/... ./storage/client/... ./storage/journal/... \
	./storage/upload/... ./storage/download/... ./storage/index/... ./storage/replica/... \
	./storage/repair/... ./storage/s3/... ./compute/... ./steward/... ./api/... ./sdk/... ./node/...
RACY_HERE = $(foreach p,$(RACY),$(if $(wildcard $(patsubst %/...,%,$(p))),$(p)))

.PHONY: up demo test test-clients check bench bench-s3 generate build race fuzz soak setup tools fmt clean hearth hearth-ledger hearth-sandbox

build: hearth hearth-ledger hearth-sandbox ## the programs, in bin/

hearth:
	CGO_ENABLED=0 $(GOBUILD) -o bin/ ./cmd/hearth ./cmd/hearth-node

hearth-ledger:
	$(GOBUILD) -o bin/hearth-ledger ./cmd/hearth-ledger

hearth-sandbox: # C breaks gVisor
	CGO_ENABLED=0 $(GOBUILD) -o bin/hearth-sandbox ./cmd/hearth-sandbox

up: build ## a whole network on this machine, until Ctrl-C
	bin/hearth dev

demo: build ## store a file, lose hosts, get it back
	bin/hearth demo

# What is under test/ runs whole networks as processes: one package at a time.
test: setup build ## the laws, the suites and the scripts; then the concurrent packages under -race
	HEARTH_PROGRAMS=$(CURDIR)/bin go test -shuffle=on -timeout 15m $$(go list ./... | grep -v '^hearth/test')
	HEARTH_PROGRAMS=$(CURDIR)/bin go test -shuffle=on -timeout 40m -p 1 ./test/...
	$(MAKE) --no-print-directory race

race: hearth-sandbox
	HEARTH_PROGRAMS=$(CURDIR)/bin go test -race -shuffle=on -timeout 40m $(RACY_HERE)

check: setup tools ## everything a machine can say about the source
	test/check.sh

fuzz: ## every fuzz target for FUZZTIME
	test/fuzz.sh

soak: build ## the demo again and again, ROUNDS=20; then a long death march: HEARTH_MARCH_HOSTS, _DEATHS, _EVERY (seconds)
	for i in $$(seq $${ROUNDS:-20}); do bin/hearth demo || exit 1; done
	HEARTH_PROGRAMS=$(CURDIR)/bin HEARTH_MARCH_HOSTS=$${HEARTH_MARCH_HOSTS:-24} HEARTH_MARCH_DEATHS=$${HEARTH_MARCH_DEATHS:-60} \
		HEARTH_MARCH_EVERY=$${HEARTH_MARCH_EVERY:-60} go test ./test/weather -run TestDeathMarch -v -count 1 -timeout 12h

bench: build ## the yardsticks: parts first, then the whole road on a cloud of 20 hosts
	HEARTH_PROGRAMS=$(CURDIR)/bin go test -run '^$$' -bench . -benchmem -timeout 30m $${BENCH:-./core/proof ./core/gas ./compute/wasm ./compute/sandbox ./storage/seal ./storage/host ./storage/index ./storage/client ./p2p ./chain ./ledger/app}
	go run ./test/bench -hearth bin/hearth $(ROAD)

bench-s3: build ## the S3 door over 20 hosts, and beside it another S3 server: DOOR="-other URL"
	go run ./test/bench/s3 -hearth bin/hearth $(DOOR)

test-clients: build ## the S3 clients people use against the door; ONLY="rclone restic" picks some
	test/clients/run.sh

generate: hearth ## whatever is written from something else
	for s in internal/generate/*.sh; do bash "$$s" || exit 1; done
	bin/hearth openapi > api/openapi.yaml.new && mv api/openapi.yaml.new api/openapi.yaml
	bin/hearth explain --all --markdown > docs/errors.md.new && mv docs/errors.md.new docs/errors.md

fmt: tools
	$(TOOLS)/gofumpt -w $(OWN)

setup:
	@test/setup.sh

# The linters have a module of their own, so that their two hundred
# dependencies stay out of ours.
tools: $(TOOLS)/golangci-lint

$(TOOLS)/golangci-lint: tools/go.mod tools/go.sum
	cd tools && go build -o ../$(TOOLS)/ tool
	touch $(TOOLS)/golangci-lint

clean:
	rm -rf bin
