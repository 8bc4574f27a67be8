package lifetime

import (
	"time"

	"github.com/ullm/ullm/tensor"
)

// Clock times the operations of one run for a profile, on a device that executes them one after the other; nil: nobody asked.
type Clock struct {
	profile tensor.Profile
	run     tensor.Run
}

// NewClock begins to time a run of g that was started at the given time; nil where there is no profile.
func NewClock(profile tensor.Profile, g *tensor.Graph, started time.Time) *Clock {
	if profile == nil {
		return nil
	}
	c := &Clock{profile, tensor.Run{Program: g.Name, Started: started, Spans: make([]tensor.Span, len(g.Nodes))}}
	for i := range g.Nodes {
		read, written := g.Traffic(&g.Nodes[i])
		c.run.Spans[i] = tensor.Span{Op: g.Nodes[i].Op, Bytes: read + written}
	}
	c.run.Begin = time.Now()
	return c
}

// Lap ends operation i, which began where the one before it ended.
func (c *Clock) Lap(i int) {
	if c == nil {
		return
	}
	s := c.run.Spans
	if i > 0 {
		s[i].Begin = s[i-1].End
	}
	s[i].End = time.Since(c.run.Begin)
}

// Report ends the run. What a failed run did not come to takes no time.
func (c *Clock) Report() {
	if c == nil {
		return
	}
	c.run.End = time.Now()
	c.profile(c.run)
}
