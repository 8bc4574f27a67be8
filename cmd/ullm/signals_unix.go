//go:build !windows

package main

import (
	"math"
	"time"
)

// terminationGrace is how long the system waits after SIGTERM before it kills: here, whoever sent it decides.
const terminationGrace = time.Duration(math.MaxInt64)

// hosted runs the program under whatever started it.
func hosted(args []string) int { return run(args, nil) }
