//go:build !linux

package cpu

// machineNodes tells of no memory nodes: outside Linux threads and memory are placed by the system.
func machineNodes() []node { return nil }

func bind([]int) {}

func prefer([]byte, int) {}

func interleave([]byte, []node) {}
