package main

import (
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// terminationGrace is how long requests may go on after the console was closed, or at log-off and shutdown: Windows
// kills the process after 5 seconds.
const terminationGrace = 3 * time.Second

// hosted runs the program under whatever started it: the service manager or a console.
func hosted(args []string) int {
	if parentIsServiceManager() {
		if code, ok := runService(args); ok {
			return code
		}
	}
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		enableColours(f)
	}
	return run(args, nil)
}

// enableColours makes a console understand escape sequences; those of before Windows Terminal print them unless asked.
func enableColours(f *os.File) {
	var mode uint32
	if h := windows.Handle(f.Fd()); windows.GetConsoleMode(h, &mode) == nil {
		_ = windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING)
	}
}
