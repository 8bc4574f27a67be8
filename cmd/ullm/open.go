package main

import (
	"errors"
	"io"
	"log/slog"

	"github.com/ullm/ullm"
)

// opening opens a model or an engine as the flags say, showing progress, lets use have it and closes it. Where --profile
// asks for a trace, that begins before and ends after.
func opening[T io.Closer](f *engineFlags, open func(ullm.Options) (T, error), use func(T) error) (err error) {
	log := f.logger(slog.LevelWarn)
	o, err := f.options(log)
	if err != nil {
		return err
	}
	profiled, err := f.startProfile(&o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, profiled()) }()
	p := newProgress(log)
	o.Progress = p.report
	opened, err := open(o)
	p.done()
	if err != nil {
		return err
	}
	return errors.Join(use(opened), opened.Close())
}
