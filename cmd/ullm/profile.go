package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/internal/profile"
)

// startProfile begins the trace that --profile asks for. The function that it returns ends it, when the engine is closed,
// and prints where the time went.
func (f *engineFlags) startProfile(o *ullm.Options) (end func() error, err error) {
	if f.Profile == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(f.Profile)
	if err != nil {
		return nil, usagef("--profile: %w", err)
	}
	r := profile.New(file)
	o.Profile = r.Run
	return func() error {
		fmt.Fprint(os.Stderr, r.Table())
		return errors.Join(r.Close(), file.Close())
	}, nil
}
