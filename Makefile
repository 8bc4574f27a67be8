# ullm: make serve tries it, make test tests it, make build builds it.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  = -s -w -X main.version=$(VERSION)

.PHONY: serve build windows test lint fuzz generate counts bench-peers

# Builds ullm and serves the embedded model on the CPU, with a chat page, at port 8000.
serve: build
	bin/ullm serve --backend cpu --port 8000

build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ullm ./cmd/ullm

# Cross-builds bin/ullm.exe, through mingw-w64 for the sake of Vulkan. CGO_ENABLED=0 leaves Vulkan out and needs no C compiler.
windows: CGO_ENABLED ?= 1
windows: MINGW ?= x86_64-w64-mingw32-gcc
windows:
	@[ "$(CGO_ENABLED)" = 0 ] || command -v $(MINGW) >/dev/null || { \
		echo "make windows: there is no $(MINGW): install mingw-w64 (Debian: apt-get install gcc-mingw-w64-x86-64-win32)," >&2; \
		echo "name another one by MINGW=, or leave Vulkan out: make windows CGO_ENABLED=0" >&2; exit 1; }
	GOOS=windows GOARCH=amd64 CGO_ENABLED=$(CGO_ENABLED) CC=$(MINGW) $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ullm.exe ./cmd/ullm

# The whole suite. On a bare Debian machine, as root, scripts/setup first installs what is missing.
test:
	scripts/test

lint:
	scripts/lint

# Fuzzes every parser of foreign bytes for FUZZTIME each.
FUZZTIME ?= 30s
fuzz:
	scripts/fuzz $(FUZZTIME)

# Regenerates committed outputs: assembly, and shaders with glslangValidator.
generate:
	$(GO) generate ./backends/cpu/internal/simd
	cd shaders && $(GO) run ./gen

# Takes the simulated instructions and cycles of the kernels anew, and what AMD's compiler makes of the shaders: tests fail
# where these become worse.
counts:
	$(GO) test ./internal/counts -count=1 -update
	$(GO) test ./backends/vulkan -run TestCompiledForAMD -count=1 -update
	eval "$$(scripts/setup)" && $(GO) test -exec "$$ULLM_TEST_MESA" ./backends/vulkan -run TestMatricesCompiledForAMD -count=1 -update

# Measures ullm beside OpenVINO, which lands in .cache/peers, and llama.cpp, where LLAMA names the directory of its programs,
# on MODEL, a Hugging Face directory: prefill and decode in four formats, medians of alternating runs, and the ratios.
bench-peers: build
	@[ -n "$(MODEL)" ] || { echo "make bench-peers: name a model: make bench-peers MODEL=DIR LLAMA=DIR" >&2; exit 1; }
	$(GO) run ./bench/peers -openvino -model '$(MODEL)' $(if $(LLAMA),-llama '$(LLAMA)') $(PEERS)
