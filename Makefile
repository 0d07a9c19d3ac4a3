# `make` lists what can be made. It needs Go and nothing else; a C compiler,
# where there is one, adds the race detector to the tests.

GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME    ?= 1m
SOAK        ?= 5m
ARCHS       ?= amd64 arm64
DIST        ?= dist
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Go switches cgo off by itself where it finds no C compiler.
RACE        := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

.DEFAULT_GOAL := help
.PHONY: help build release demo test soak fuzz bench load lint clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

build: ## compile the plugin, as a static program: bin/vault-auth
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/vault-auth .

# The same commit and Go version make the same bytes anywhere.
release: ## compile for Linux on ARCHS (amd64 arm64): archives of all that an installation needs, and their checksums, in DIST (dist)
	@rm -rf $(DIST) && mkdir -p $(DIST)
	@set -e; for arch in $(ARCHS); do \
		name=vault-auth-$(VERSION)-linux-$$arch; mkdir $(DIST)/$$name; \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(DIST)/$$name/bin/vault-auth .; \
		git archive HEAD README.md CHANGELOG.md LICENSE SECURITY.md docs lua deploy kong.conf.example kong.yml | tar -x -C $(DIST)/$$name; \
		tar -c -C $(DIST) --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rw,go+r-w,a+X --mtime=@$$(git log -1 --format=%ct) $$name | gzip -9n >$(DIST)/$$name.tar.gz; \
		rm -r $(DIST)/$$name; \
	done
	@cd $(DIST) && sha256sum *.tar.gz | tee SHA256SUMS

demo: build ## a gateway with a real Vault, and the curls to try (DEMO=once ends after the tour; STORE=azure: a simulated Key Vault)
	@cd e2e && $(GO) build -o ../bin/demo ./demo
	@bin/demo

# The end-to-end tests mostly wait, so the others and the fuzz targets run beside them, with
# a lower priority: the programs that those tests start have to answer in time.
# Package cache makes the race detector's own runtime fail now and then where its threads
# run side by side, so there it has one processor. Its largest tests are smaller with the
# detector, or left out, so it is tested without it as well.
test: ## all tests against a real Vault, and some seconds of each fuzz target
	@$(if $(RACE),echo 'The race detector is on.',echo 'No C compiler found: the tests run without the race detector.')
	VAULTD_BIN=$$(cd e2e && $(GO) run ./build/vaultd) && export VAULTD_BIN && $(GO) build $(RACE) ./... && \
	{ (cd e2e && $(GO) test $(RACE) -timeout 40m ./...) & e2e=$$!; \
	nice -n 5 $(GO) test $(RACE) $$($(GO) list ./... | grep -v '/cache$$') && \
	$(if $(RACE),nice -n 5 $(GO) test $(RACE) -cpu 1 ./cache &&) nice -n 5 $(GO) test ./cache && \
	nice -n 5 .ci/fuzz 2s; others=$$?; \
	wait $$e2e && exit $$others; }

soak: build ## one fault after the other under load, on either store, for SOAK (5m): a table, and the number of wrong answers
	@cd e2e && $(GO) build -o ../bin/soak ./soak
	@SOAK=$(SOAK) bin/soak

fuzz: ## run every fuzz target for FUZZTIME (1m), as many at a time as there are processors
	@.ci/fuzz $(FUZZTIME)

bench: ## all benchmarks, in one run
	$(GO) test -run '^$$' -bench . -benchmem ./...
	cd e2e && $(GO) test -run '^$$' -bench . ./bench

load: ## what a route costs with and without the plugin, on a whole gateway (E2E_KONG=/path/to/kong: a genuine one)
	@cd e2e && $(GO) run ./load

lint: ## gofmt, go vet and staticcheck, both modules
	@unformatted=$$(gofmt -l .) && if [ -n "$$unformatted" ]; then echo "not as gofmt writes it:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	cd e2e && $(GO) vet ./... && $(GO) run $(STATICCHECK) ./...

clean: ## remove what was built, the Vault server of the tests too
	rm -rf bin dist .cache
