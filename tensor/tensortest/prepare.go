package tensortest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// prepare replays random steps through Prepare on both devices and compares what it derives and what it leaves in the
// slots, after every step.
func (s *suite) prepare(t *testing.T) {
	dut, oracle := s.pair(t)
	for _, limits := range []tensor.ForwardLimits{
		{Tokens: 1, Seqs: 1, Rows: 1, Pages: 1, Params: 1, History: 1, Bias: 1},
		{Tokens: 8, Seqs: 4, Rows: 4, Pages: 4, Params: 4, History: 40, Bias: 8},
		{Tokens: 65, Seqs: 17, Rows: 33, Pages: 33, Params: 17, History: 300, Bias: 40},
	} {
		t.Run(fmt.Sprint(limits.Tokens), func(t *testing.T) { s.prepareSteps(t, dut, oracle, limits) })
	}
}

func (s *suite) prepareSteps(t *testing.T, dut, oracle tensor.Device, limits tensor.ForwardLimits) {
	m := newStepMaker(limits)
	g := tensor.NewGraph("prepare")
	state := m.slots.State("slots")
	p := g.Prepare(limits, g.State(state.Spec))
	tokens, kept := g.Output(p.Tokens), g.Output(p.Kept)
	setup := Setup{States: []StateInit{state}}
	var rigs []*Rig
	for _, d := range []tensor.Device{dut, oracle} {
		r, err := NewRig(d, setup, true, g)
		if err != nil {
			t.Fatal(err)
		}
		defer closeRig(t, r)
		rigs = append(rigs, r)
	}
	for i := range 40 {
		step := m.next()
		in := stepBlock(limits, step)
		var outs, slots [2][]byte
		for j, r := range rigs {
			var err error
			if outs[j], err = r.Run(0, in); err != nil {
				t.Fatalf("step %d: %v\n%+v", i, err, step)
			}
			export, err := r.Export("slots")
			if err != nil {
				t.Fatal(err)
			}
			slots[j] = m.slots.canonical(export)
		}
		for _, c := range []struct {
			what  string
			at, n int
		}{{"tokens", tokens, len(step.IDs) * tensor.TokenColumns}, {"kept", kept, step.Rows()}} {
			if err := equal(outs[0][c.at:][:4*c.n], outs[1][c.at:][:4*c.n]); err != nil {
				t.Fatalf("step %d: %s: %v\n%+v", i, c.what, err, step)
			}
		}
		if err := equal(slots[0], slots[1]); err != nil {
			t.Fatalf("step %d: slots: %v (layout %+v)\n%+v", i, err, m.slots.Spec.Layout(), step)
		}
	}
	s.guards(t, dut)
}

func closeRig(t testing.TB, r *Rig) {
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// stepBlock encodes a step into a block whose unused parts are -1.
func stepBlock(l tensor.ForwardLimits, s *tensor.ForwardStep) []byte {
	b := make([]byte, l.Bytes())
	for i := range b {
		b[i] = 0xff
	}
	if err := l.Encode(b, s); err != nil {
		panic(err) // the suite's own mistake
	}
	return b
}

// stepMaker makes steps of sequences that come, are computed in pieces, and go.
type stepMaker struct {
	r      *rand.Rand
	limits tensor.ForwardLimits
	slots  *Slots
	seqs   []*madeSequence // by slot
}

type madeSequence struct {
	computed int // tokens before this position are done
	prompt   int
	pages    int // page-table entries written
	biases   int
}

func newStepMaker(l tensor.ForwardLimits) *stepMaker {
	r := rand.New(rand.NewPCG(uint64(l.Tokens), 5))
	m := &stepMaker{r: r, limits: l, seqs: make([]*madeSequence, l.Seqs+3)}
	m.slots = NewSlots(tensor.SlotSpec{Slots: len(m.seqs), MaxPages: 12, Vocab: 75, Bias: 5})
	for i := range m.seqs {
		m.slots.Last(i, int32(r.IntN(75)))
		m.slots.Count(i, i, math.MaxUint16-1) // about to saturate
		m.slots.Prompted(i, 74-i)
		m.slots.Bias(i, 3, 4, 5)
		m.seqs[i] = &madeSequence{biases: 1, prompt: r.IntN(60)}
	}
	return m
}

// next makes one step.
func (m *stepMaker) next() *tensor.ForwardStep {
	s, r, l := &tensor.ForwardStep{}, m.r, m.limits
	type piece struct{ at, tokens int } // of s.Seqs
	var pieces []piece
	room := r.IntN(l.Tokens + 1)
	for _, slot := range r.Perm(len(m.seqs))[:r.IntN(l.Seqs+1)] {
		q := m.seqs[slot]
		step := tensor.SeqStep{Slot: int32(slot)}
		if r.IntN(4) == 0 || q.computed > 100 {
			*q = madeSequence{prompt: 1 + r.IntN(60)}
			step.Reset = true
			// A cached prefix: its tokens are counted without being computed.
			if n := 16 * r.IntN(4); r.IntN(2) == 0 && n <= l.History-len(s.History) {
				q.computed = n
				for i := range n {
					s.History = append(s.History, tensor.HistoryWrite{Slot: int32(slot), ID: m.id(), Generated: i >= q.prompt})
				}
			}
		}
		n := min(r.IntN(24), room, (q.pages+l.Pages-len(s.Pages))*tensor.PageTokens-q.computed)
		n = max(n, 0) // a sequence may come with nothing to compute
		room -= n
		for q.pages*tensor.PageTokens < q.computed+n {
			s.Pages = append(s.Pages, tensor.PageWrite{Slot: int32(slot), Index: int32(q.pages), Page: int32(r.IntN(1 << 20))})
			q.pages++
		}
		step.Start, step.Count, step.PromptLen = int32(q.computed), int32(n), int32(q.prompt)
		step.Keep = int32(min(r.IntN(n+1), l.Rows-s.Rows()))
		q.computed += n
		pieces = append(pieces, piece{len(s.Seqs), n})
		s.Seqs = append(s.Seqs, step)
		m.settings(s, slot, q)
	}
	// Ids and kept rows need not lie in the order of the sequences.
	r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	rows := int32(0)
	for _, p := range pieces {
		q := &s.Seqs[p.at]
		q.First, q.FirstRow = int32(len(s.IDs)), rows
		rows += q.Keep
		for range p.tokens {
			s.IDs = append(s.IDs, m.id())
		}
		if p.tokens > 0 && r.IntN(2) == 0 {
			s.IDs[len(s.IDs)-1] = -1
		}
	}
	return s
}

// id is a token, mostly a common one, sometimes one that the vocabulary does not have.
func (m *stepMaker) id() int32 {
	if m.r.IntN(30) == 0 {
		return int32(75 + m.r.IntN(1000))
	}
	return int32(m.r.IntN([]int{3, 75}[m.r.IntN(2)]))
}

// settings writes parameters and biases of a slot.
func (m *stepMaker) settings(s *tensor.ForwardStep, slot int, q *madeSequence) {
	r := m.r
	if len(s.Params) < m.limits.Params && r.IntN(2) == 0 {
		s.Params = append(s.Params, tensor.ParamWrite{Slot: int32(slot), Sampling: tensor.Sampling{Temperature: r.Float32(), TopK: int32(r.IntN(9)),
			TopP: r.Float32(), MinP: r.Float32(), Repetition: r.Float32(), Presence: r.Float32(), Frequency: r.Float32(), Seed: r.Uint64(),
			Choice: r.Uint32()}})
	}
	for q.biases < m.slots.Spec.Bias && len(s.Bias) < m.limits.Bias && r.IntN(3) > 0 {
		s.Bias = append(s.Bias, tensor.BiasWrite{Slot: int32(slot), ID: m.id(), Value: r.Float32(), Until: int32(r.IntN(100))})
		q.biases++
	}
}
