package tensortest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// The traces that a model runs: three sequences whose steps interleave, prompts and single tokens together, and the same
// tokens cut otherwise. Sequence 1 crosses the border of an attention chunk. No step has more than stepTokens.
var (
	lengths     = []int{70, 300, 40}
	interleaved = trace{{{0, 33}, {1, 39}}, {{1, 72}}, {{1, 72}}, {{1, 72}}, {{0, 30}, {1, 25}, {2, 16}}, {{1, 1}, {0, 1}},
		{{2, 17}, {1, 1}, {0, 1}}, {{1, 10}}, {{0, 5}, {1, 8}, {2, 7}}}
)

const stepTokens = 72

// model compares whole models with the reference, and each model with itself in other batches and chunks.
func (s *suite) model(t *testing.T) {
	d := s.open(t, nil)
	list := models(s.formats(d))
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	for n, m := range list {
		if s.quick && n%4 != 0 {
			continue
		}
		s.part(t, m.Name, func(t *testing.T) {
			dut, oracle := s.pair(t)
			x := s.session(t, dut, m)
			if x == nil {
				return
			}
			y := s.session(t, oracle, m)
			have := follow(t, x, interleaved, lengths...)
			want := follow(t, y, interleaved, lengths...)
			s.close(t, m, have, want)
			t.Run("exchange", func(t *testing.T) { s.exchange(t, m, x, y) })
			t.Run("chunks", func(t *testing.T) { s.chunks(t, x, have) })
			t.Run("pipeline", func(t *testing.T) { s.pipeline(t, x) })
			s.guards(t, dut)
		})
	}
}

// session compiles a model, and is nil where the backend lists something of it as missing.
func (s *suite) session(t *testing.T, d tensor.Device, m *Model) *session {
	x, err := newSession(d, m)
	for _, c := range []*opCase{{op: tensor.OpLinear, format: m.Format("q_proj", 0)}, {op: tensor.OpAttention, format: m.KV}} {
		if d.Info().Backend != "ref" && err != nil && s.missing(t, c, err) {
			return nil
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeRig(t, x.rig) })
	return x
}

func follow(t *testing.T, x *session, tr trace, lengths ...int) map[spot]result {
	t.Helper()
	at, err := x.follow(tr, lengths...)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// close compares logits with the reference's, and what was drawn where rounding cannot decide it.
func (s *suite) close(t *testing.T, m *Model, have, want map[spot]result) {
	t.Helper()
	tolerance := m.tolerance(s)
	for at, w := range want {
		h := have[at]
		scale := groupSize(len(w.logits), 1)(w.logits)
		for i := range scale {
			scale[i] /= sqrt(len(w.logits))
		}
		if err := tolerance.within(h.logits, w.logits, scale); err != nil {
			t.Errorf("%v: logits: %v", at, err)
		}
		if best := h.logits[h.sampled.ID]; best < h.logits[w.sampled.ID] {
			t.Errorf("%v: drew %d with %g, %d has %g", at, h.sampled.ID, best, w.sampled.ID, h.logits[w.sampled.ID])
		}
	}
}

// same compares the logits of two runs of one device, bit for bit.
func (s *suite) same(t *testing.T, what string, have, want map[spot]result) {
	t.Helper()
	shared := 0
	for at, w := range want {
		h, ok := have[at]
		if !ok {
			continue
		}
		shared++
		for i := range w.logits {
			if floatBits(h.logits[i]) != floatBits(w.logits[i]) && len(s.config.Exceptions) == 0 {
				t.Errorf("%s: %v: logit %d is %g, was %g", what, at, i, h.logits[i], w.logits[i])
				break
			}
		}
	}
	if shared == 0 {
		t.Errorf("%s: no spot in common", what)
	}
}

// chunks computes the sequences alone and with their prompts cut in many ways.
func (s *suite) chunks(t *testing.T, x *session, want map[spot]result) {
	// Cuts also where a piece of the interleaved trace ends, so that there are spots to compare.
	ends := [][]int{{33, 63, 70}, {280, 281, 282, 292, 300}, {16, 33, 40}}
	for _, c := range []struct{ seq, size int }{{2, 1}, {0, 7}, {2, 16}, {0, 64}, {1, 64}} {
		var alone trace
		done := 0
		for _, end := range ends[c.seq] {
			alone = append(alone, chunked(c.seq, end-done, c.size)...)
			done = end
		}
		s.same(t, fmt.Sprintf("sequence %d alone in chunks of %d", c.seq, c.size), follow(t, x, alone, lengths...), want)
	}
}

// exchange moves states from one backend to the other, and back: both go on from them alike.
func (s *suite) exchange(t *testing.T, m *Model, x, y *session) {
	move := func(from, to *session) {
		t.Helper()
		for name := range from.rig.States {
			data, err := from.rig.Export(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := to.rig.States[name].Import(bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			again, err := to.rig.Export(name)
			if err != nil {
				t.Fatal(err)
			}
			if slots := m.slots(); name == "slots" {
				data, again = slots.canonical(data), slots.canonical(again)
			}
			if err := equal(again, data); err != nil {
				t.Errorf("state %s: exported, imported and exported again: %v", name, err)
			}
		}
	}
	// A sequence begins on one backend and ends on the other.
	for _, way := range [][2]*session{{x, y}, {y, x}} {
		from, to := way[0], way[1]
		if _, err := from.follow(trace{{{0, 20}, {1, 40}}}, 30, 50); err != nil {
			t.Fatal(err)
		}
		move(from, to)
		var ends [2]map[spot]result
		for i, side := range []*session{x, y} {
			a, b := newSequence(0, 30), newSequence(1, 50)
			a.computed, b.computed, a.pages, b.pages = 20, 40, 2, 3
			side.free = 5
			results, err := side.step(piece{a, 10}, piece{b, 2})
			if err != nil {
				t.Fatal(err)
			}
			ends[i] = map[spot]result{{0, 30}: results[0], {1, 42}: results[1]}
		}
		s.close(t, m, ends[0], ends[1])
	}
	if err := x.rig.States["hidden"].Import(bytes.NewReader(make([]byte, 3))); err == nil {
		t.Error("importing a state that is cut short should fail")
	}
}

// pipeline decodes greedily with steps in flight, whose ids the host does not know, and compares with one at a time.
func (s *suite) pipeline(t *testing.T, x *session) {
	const steps = 9
	decode := func(ahead bool) map[spot]result {
		x.free = 0
		a, b := newSequence(0, 20), newSequence(1, 5)
		at := map[spot]result{}
		var flights []*flight
		finish := func() {
			results, err := x.wait(flights[0])
			if err != nil {
				t.Fatal(err)
			}
			flights = flights[1:]
			for i, r := range results {
				at[spot{i, r.position}] = r
				if !ahead {
					r.seq.ids = append(r.seq.ids, r.sampled.ID)
				}
			}
		}
		for i := range steps {
			n := []int{1, 1}
			if i == 0 {
				n = []int{20, 5}
			}
			f, err := x.start(piece{a, n[0]}, piece{b, n[1]})
			if err != nil {
				t.Fatal(err)
			}
			if flights = append(flights, f); len(flights) == 2 || !ahead {
				finish()
			}
		}
		for len(flights) > 0 {
			finish()
		}
		return at
	}
	one, two := decode(false), decode(true)
	if len(one) != 2*steps {
		t.Fatalf("%d results, want %d", len(one), 2*steps)
	}
	s.same(t, "two steps in flight", two, one)
	for at, r := range one {
		if two[at].sampled.ID != r.sampled.ID {
			t.Errorf("two steps in flight: %v: drew %d, alone %d", at, two[at].sampled.ID, r.sampled.ID)
		}
	}
}
