package backends

func cuda() Backend {
	return Backend{Name: "cuda", Auto: always, Missing: "build with make build CUDA=1"}
}
