// Package ullm runs Qwen3 models inside a Go program: the engine behind the ullm server.
//
//	eng, err := ullm.Open(ctx, "Qwen/Qwen3-0.6B")
//	for tok, err := range eng.Generate(ctx, ullm.Request{Prompt: "Hello", MaxTokens: 50}) { … }
//	err = eng.Shutdown(ctx) // lets running requests finish, then frees every byte
package ullm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/chat"
	"github.com/ullm/ullm/model/tokenizer"
	"github.com/ullm/ullm/sched"
	"github.com/ullm/ullm/tensor"
)

// Engine is an open model: weights on a device and the loop that serves requests with them. It is safe for concurrent
// use. Whoever opened it ends it with Shutdown or Close.
type Engine struct {
	info      Info
	config    model.Config
	tokenizer *tokenizer.Tokenizer
	template  *chat.Template
	stops     []int32 // ids that end an answer
	now       func() time.Time
	log       *slog.Logger

	device   tensor.Device
	instance *model.Instance
	loop     *sched.Loop

	drained, freed sync.Once
	freeErr        error
	mu             sync.Mutex
	report         Report // under mu
}

// Info describes an open model.
type Info struct {
	Model    string // served name
	Path     string // what was opened
	Created  time.Time
	Device   tensor.Info
	Sizing   model.Sizing
	Defaults model.Generation // sampling that the model's authors recommend, used where a request says nothing
}

// Report says what an Engine freed.
type Report struct {
	Freed  tensor.Count // since the device was opened
	Leaked tensor.Count // still held when the device was closed, by whom ever; the device's Close freed that too
	Peak   [tensor.NumUses]tensor.Count
	Lost   bool // the device was lost: what it held was given up
}

// ErrLeaked: memory or handles were still held when everything had been closed.
var ErrLeaked = errors.New("ullm: device memory leaked")

// Info describes the engine.
func (e *Engine) Info() Info { return e.info }

// Tokenizer is the model's tokenizer.
func (e *Engine) Tokenizer() *tokenizer.Tokenizer { return e.tokenizer }

// Stats is the state of the scheduler.
func (e *Engine) Stats() sched.Stats { return e.loop.Stats() }

// Memory is the state of the device's ledger.
func (e *Engine) Memory() tensor.Stats { return e.device.Stats() }

// Done is closed when the engine has stopped serving: after Shutdown or Close, or because the device failed, which Err
// then tells.
func (e *Engine) Done() <-chan struct{} { return e.loop.Done() }

// Err is the failure that ended the engine, nil while it serves and after an orderly end.
func (e *Engine) Err() error { return e.loop.Err() }

// Drain refuses new requests, lets running ones finish until ctx ends, and cuts off the rest (sched.ErrCut). Nothing is
// freed yet: that is for Shutdown or Close, which do all of this and need no Drain before them. A server calls it so that
// the last answers can be written before memory goes. It may be called again, also while another call waits: whose ctx
// ends first cuts off the rest for all, and all return the same.
func (e *Engine) Drain(ctx context.Context) error {
	begun := time.Now()
	err := e.loop.Shutdown(ctx)
	e.drained.Do(func() { e.logStage("requests", begun, err) })
	return err
}

// Shutdown is Drain, and then frees everything. A later call returns the first one's result.
func (e *Engine) Shutdown(ctx context.Context) error {
	drainErr := e.Drain(ctx)
	e.freed.Do(func() {
		begun := time.Now()
		modelErr := e.instance.Close()
		e.logStage("model", begun, modelErr)
		begun = time.Now()
		report, deviceErr := closeDevice(e.device)
		e.logStage("device", begun, deviceErr)
		e.log.Info(report.String())
		e.freeErr = errors.Join(modelErr, deviceErr)
		e.mu.Lock()
		e.report = report
		e.mu.Unlock()
	})
	return errors.Join(drainErr, e.freeErr)
}

// Close is Shutdown without waiting for requests.
func (e *Engine) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return e.Shutdown(ctx)
}

// Freed says what was freed; it is empty until Shutdown or Close has freed it.
func (e *Engine) Freed() Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.report
}

// logStage logs one stage of a shutdown and how long it took.
func (e *Engine) logStage(name string, begun time.Time, err error) {
	attrs := []any{"stage", name, "seconds", time.Since(begun).Seconds()}
	switch {
	case err == nil:
		e.log.Info("shutdown", attrs...)
	case errors.Is(err, sched.ErrCut):
		e.log.Warn("shutdown", append(attrs, "error", err)...)
	default:
		e.log.Error("shutdown", append(attrs, "error", err)...)
	}
}

// closeDevice closes a device on which everything has been closed, and reports what had not.
func closeDevice(d tensor.Device) (Report, error) {
	held := d.Stats()
	err := d.Close()
	s := d.Stats()
	r := Report{Freed: s.Freed, Leaked: held.Total(), Peak: s.Peak, Lost: s.Lost}
	own := held.Live[tensor.UseStaging] // the device's own buffers, which its Close frees
	r.Leaked.Bytes -= own.Bytes
	r.Leaked.Handles -= own.Handles
	if !r.Lost && (r.Leaked != tensor.Count{} || s.Total() != tensor.Count{}) {
		err = errors.Join(fmt.Errorf("%w: %s", ErrLeaked, held), err)
	}
	return r, err
}

// String is the last line of a shutdown: "freed N bytes in M buffers, 0 leaked".
func (r Report) String() string {
	word := "leaked"
	if r.Lost {
		word = "lost"
	}
	return fmt.Sprintf("freed %d bytes in %d buffers, %d %s", r.Freed.Bytes, r.Freed.Handles, r.Leaked.Handles, word)
}
