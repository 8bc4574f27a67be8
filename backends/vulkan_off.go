//go:build !cgo || !(linux || windows)

package backends

func vulkan() Backend {
	return Backend{Name: "vulkan", Auto: always, Missing: "build with cgo, on Linux or for Windows: make build"}
}
