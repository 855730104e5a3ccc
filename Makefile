# Sluice. "make help" lists the targets.

GO      ?= go
BIN     := bin/sluice
SOURCES := $(shell find . -name '*.go' -not -name '*_test.go') $(shell find web/page dataplane/source/demo -type f)

# Debian packages that the tests use, beside Go: browsers, DTLS peers, network
# namespaces, the decoder that checks the demo clip, FUSE for users without rights,
# GStreamer as a client, a C compiler for a stand-in of perf/.
TEST_PACKAGES := chromium firefox-esr ffmpeg openssl gnutls-bin iproute2 fuse3 systemd prometheus clang-14 llvm-14 libbpf-dev \
	python3-gst-1.0 gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
	gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-nice gstreamer1.0-libav gcc libc6-dev

.PHONY: help run build test race fuzz matrix perf effect soak deps bpf

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

run: build ## build and start Sluice; it prints the URL to open
	$(BIN) run

build: $(BIN) ## build the static binary

$(BIN): $(SOURCES) go.mod go.sum
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o $@ ./cmd/appliance

test: deps ## install what the tests miss, then run them all
	$(GO) vet ./...
	GOARCH=arm64 $(GO) vet ./...
	$(GO) test -count=1 ./... # never cached: some tests build and run the binary, which the cache does not see
	$(GO) test -race -short ./dataplane/... ./controlplane/... ./netopt/... ./web/... ./cmd/...

# The C yardstick of perf/ has a cipher for amd64 only.
ifeq ($(shell uname -m),x86_64)
TEST_PACKAGES += libipsec-mb-dev
endif

deps:
	@missing=$$(for p in $(TEST_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "installing" $$missing; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

fuzz: ## run every fuzz target for FUZZTIME each (default 30s)
	@for f in $$(grep -rl '^func Fuzz' --include='*_test.go' .); do \
		for t in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$f); do \
			echo "== $$t in $$(dirname $$f)"; \
			$(GO) test -run '^$$' -fuzz "^$$t\$$" -fuzztime $${FUZZTIME:-30s} ./$$(dirname $$f) || exit 1; \
		done; \
	done

matrix: deps ## each client publishes to each over each network, without and with loss; a table (a quarter of an hour)
	$(GO) test -count=1 -v -timeout 1h -run '^(TestMatrix|TestGStreamer|TestNetworks)$$' ./perf/e2e -whole

perf: build ## measure Sluice beside others: SCENARIO=quick (a quarter of an hour), tx-100, … or all (hours), or instructions (a minute); BUDGET=FILE judges
	$(if $(filter instructions,$(SCENARIO)),$(GO) run ./perf/instructions $(PERF),$(COMPARE))

COMPARE = $(GO) run ./perf/compare -scenario '$(or $(SCENARIO),all)' $(if $(BUDGET),-budget $(BUDGET)) $(if $(filter quick,$(SCENARIO)),-runs 3 -seconds 3 -rss-wait 0 -markdown) $(PERF)

effect: build ## what each option of low-latency networking is worth, switched on one by one: about four minutes
	$(GO) run ./perf/effect $(EFFECT)

soak: build ## ten minutes, 200 viewers, one joining and leaving each second
	$(GO) run ./perf/soak $(SOAK)

# One version of the compiler makes the same object everywhere (a test compares).
BPFCC := clang-14 -target bpf -O2 -g -Wall -Werror -fdebug-compilation-dir=. -I/usr/include/$(shell uname -m)-linux-gnu

bpf: ## compile the eBPF programs (their objects are committed)
	cd bpf/steer && for p in steer testdata/decide; do $(BPFCC) -c $$p.bpf.c -o $$p.bpf.o && llvm-strip-14 -g $$p.bpf.o || exit 1; done
