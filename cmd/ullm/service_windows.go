package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// service answers the service manager for the program, which is called with args.
type service struct {
	args []string
	code int // of the program's end
}

// parentIsServiceManager is svc.IsWindowsService without the question for session 0, which Wine's services are not in.
func parentIsServiceManager() bool {
	list, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return false
	}
	defer windows.CloseHandle(list)
	names, parents := map[uint32]string{}, map[uint32]uint32{}
	p := windows.ProcessEntry32{Size: uint32(unsafe.Sizeof(windows.ProcessEntry32{}))}
	for err = windows.Process32First(list, &p); err == nil; err = windows.Process32Next(list, &p) {
		names[p.ProcessID], parents[p.ProcessID] = windows.UTF16ToString(p.ExeFile[:]), p.ParentProcessID
	}
	return strings.EqualFold(names[parents[windows.GetCurrentProcessId()]], "services.exe")
}

// runService runs the program as the service that it is already, and returns its exit code; ok is false if no service
// manager waits for it. What the program writes to stderr goes to the event log, which a --log-file takes over.
func runService(args []string) (code int, ok bool) {
	s := &service{args: args}
	err := svc.Run("", s) // a service that is a process of its own need not know its name
	if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
		return 0, false
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ullm: the service manager:", err)
		return exitFailed, true
	}
	return s.code, true
}

// Execute runs the program; the manager is told the exit code if it is not 0.
func (s *service) Execute(names []string, requests <-chan svc.ChangeRequest, changes chan<- svc.Status) (specific bool, code uint32) {
	name := "ullm"
	if len(names) > 0 && names[0] != "" {
		name = names[0]
	}
	log := logEvents(name)
	controls, ended := make(chan serviceControl), make(chan struct{})
	go func() {
		for {
			select {
			case r := <-requests:
				c := serviceReport
				switch r.Cmd {
				case svc.Stop:
					c = serviceStop
				case svc.Shutdown:
					c = serviceShutdown
				}
				select {
				case controls <- c:
				case <-ended:
					return
				}
			case <-ended:
				return
			}
		}
	}()
	report := func(status serviceStatus) {
		told := svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
		if status.stopping {
			told = svc.Status{State: svc.StopPending, CheckPoint: status.progress, WaitHint: uint32(status.hint / time.Millisecond)}
		}
		changes <- told
	}
	s.code = supervise(controls, report, func(signals <-chan os.Signal) int { return run(s.args, signals) })
	close(ended)
	log.close(s.code)
	return true, uint32(s.code)
}

// events writes what the program says on stderr to the event log, line by line.
type events struct {
	log  *eventlog.Log // nil: there is none, and nobody to tell
	pipe *os.File
	done chan struct{}
}

// The event log's identifiers of our messages.
const (
	eventLine  = 1
	eventEnded = 2
)

// mostOfEvent is how many bytes of a line make one event; Windows takes 31,839 characters.
const mostOfEvent = 16 << 10

// logEvents replaces stderr, which a service has none of.
func logEvents(source string) *events {
	e := &events{done: make(chan struct{})}
	log, err := eventlog.Open(source)
	if err != nil {
		return e
	}
	lines, pipe, err := os.Pipe()
	if err != nil {
		log.Close()
		return e
	}
	e.log, e.pipe, os.Stderr = log, pipe, pipe
	go func() {
		defer close(e.done)
		defer lines.Close()
		for r := bufio.NewReaderSize(lines, mostOfEvent); ; {
			line, _, err := r.ReadLine()
			if err != nil {
				return
			}
			_ = log.Info(eventLine, string(line))
		}
	}()
	return e
}

// close ends the log, behind all lines, with how the program ended.
func (e *events) close(code int) {
	if e.log == nil {
		return
	}
	e.pipe.Close()
	<-e.done
	if code != exitClean {
		_ = e.log.Error(eventEnded, fmt.Sprintf("ullm ended with exit code %d", code))
	}
	e.log.Close()
}
