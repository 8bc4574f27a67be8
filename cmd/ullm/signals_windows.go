package main

import "time"

// terminationGrace is how long requests may go on after the console was closed, or at log-off and shutdown: Windows
// kills the process after 5 seconds.
const terminationGrace = 3 * time.Second
