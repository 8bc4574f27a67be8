package backends

func vulkan() Backend {
	return Backend{Name: "vulkan", Auto: always, Missing: "build with cgo: make build"}
}
