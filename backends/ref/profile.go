package ref

import (
	"time"

	"github.com/ullm/ullm/tensor"
)

// clock times the operations of one run for a profile; nil: nobody asked.
type clock struct {
	profile tensor.Profile
	run     tensor.Run
}

// clock starts to time a run.
func (p *program) clock(started time.Time) *clock {
	if p.d.options.Profile == nil {
		return nil
	}
	g := p.plan.graph
	c := &clock{p.d.options.Profile, tensor.Run{Program: g.Name, Started: started, Spans: make([]tensor.Span, len(g.Nodes))}}
	for i := range g.Nodes {
		read, written := g.Traffic(&g.Nodes[i])
		c.run.Spans[i] = tensor.Span{Op: g.Nodes[i].Op, Bytes: read + written}
	}
	c.run.Begin = time.Now()
	return c
}

// lap ends operation i, which began where the one before it ended.
func (c *clock) lap(i int) {
	if c == nil {
		return
	}
	s := c.run.Spans
	if i > 0 {
		s[i].Begin = s[i-1].End
	}
	s[i].End = time.Since(c.run.Begin)
}

// report ends the run. What a failed run did not come to takes no time.
func (c *clock) report() {
	if c == nil {
		return
	}
	c.run.End = time.Now()
	c.profile(c.run)
}
