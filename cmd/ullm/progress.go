package main

import (
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far a stage is: a bar on a terminal, log lines elsewhere.
type progress struct {
	log      *slog.Logger
	terminal bool

	mu     sync.Mutex
	stage  string
	bar    *progressbar.ProgressBar
	logged time.Time
}

func newProgress(log *slog.Logger) *progress {
	return &progress{log: log, terminal: isTerminal(os.Stderr)}
}

// report is called as often as a stage likes, with bytes.
func (p *progress) report(stage string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stage != p.stage {
		p.finish()
		p.stage, p.logged = stage, time.Now()
		if p.terminal {
			p.bar = progressbar.DefaultBytes(total, stage)
		}
	}
	switch {
	case p.bar != nil:
		p.bar.ChangeMax64(total)
		_ = p.bar.Set64(done)
	case time.Since(p.logged) > 5*time.Second:
		p.logged = time.Now()
		p.log.Info(stage, "done_bytes", done, "total_bytes", total)
	}
}

// done ends the last stage.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish()
}

func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
		p.bar = nil
	}
	p.stage = ""
}
