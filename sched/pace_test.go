package sched

import (
	"testing"
	"time"
)

// TestPace: a step with prompts comes to take twice as long as one without, whatever tokens cost.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		plain, prompt time.Duration
		limit, want   int
	}{
		{100 * time.Millisecond, time.Millisecond, 512, 100},
		{100 * time.Millisecond, time.Millisecond, 70, 70},
		{10 * time.Millisecond, 5 * time.Millisecond, 512, leastMixed},
		{10 * time.Millisecond, time.Microsecond, 512, 512},
		{10 * time.Millisecond, 5 * time.Millisecond, 3, 3},
	} {
		p := pace{stretch: 2}
		if n := p.mixed(c.limit, 8, 1); n != min(c.limit, firstMixed) {
			t.Errorf("knowing nothing: %d", n)
		}
		p.observe(300, 300, 300*c.prompt)
		settle := func(plain time.Duration, want int) {
			t.Helper()
			n := 0
			for i := range 100 {
				if i%5 == 0 {
					p.observe(8, 0, plain)
				}
				n = p.mixed(c.limit, 8, 1)
				p.observe(8+n, n, plain+time.Duration(n)*c.prompt)
			}
			if n < want*95/100 || n > want*105/100 {
				t.Errorf("%v, and %v a token: %d, want %d", plain, c.prompt, n, want)
			}
		}
		settle(c.plain, c.want)
		p.observe(8, 0, time.Hour) // the machine slept
		if n := p.mixed(c.limit, 8, 1); n > 2*c.want {
			t.Errorf("after a pause: %d, before it %d", n, c.want)
		}
		settle(c.plain, c.want)
		settle(4*c.plain, min(c.limit, max(c.want, leastMixed, int(4*c.plain/c.prompt)))) // more sequences generate
	}
	if n := (&pace{}).mixed(512, 8, 1); n != 512 {
		t.Errorf("without a bound: %d", n)
	}
}

// TestPaceFollowsWithoutPlainSteps: as more and more sequences generate while prompts never cease, the bound grows.
func TestPaceFollowsWithoutPlainSteps(t *testing.T) {
	p := pace{stretch: 2}
	p.observe(200, 200, 400*time.Millisecond)
	p.observe(1, 0, 20*time.Millisecond)
	first, last := p.mixed(512, 1, 1), 0
	for i := range 40 {
		last = p.mixed(512, 10, 1)
		p.observe(10+last, last, time.Duration(20+2*min(i, 32)+2*last)*time.Millisecond) // 2 ms a token, and for each sequence
	}
	if first != leastMixed || last < 30 || last > 60 {
		t.Errorf("first %d, last %d", first, last)
	}
}

// TestPaceCountsWhoWaits: few that generate leave the time to many prompts, and the others their bound.
func TestPaceCountsWhoWaits(t *testing.T) {
	p := pace{stretch: 2}
	p.observe(100, 100, 100*time.Millisecond)
	p.observe(4, 0, 50*time.Millisecond)
	for _, c := range []struct{ generating, waiting, want int }{{4, 1, 50}, {4, 4, 50}, {4, 12, 150}, {1, 100, 512}} {
		if n := p.mixed(512, c.generating, c.waiting); n < c.want-1 || n > c.want {
			t.Errorf("%d generate, %d wait: %d tokens, want %d", c.generating, c.waiting, n, c.want)
		}
	}
}
