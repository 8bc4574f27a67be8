package tensor_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/ullm/ullm/tensor"
)

// drawStep makes any step that fits the limits.
func drawStep(t *rapid.T, l tensor.ForwardLimits) *tensor.ForwardStep {
	number := rapid.Int32()
	s := &tensor.ForwardStep{IDs: rapid.SliceOfN(number, 0, l.Tokens).Draw(t, "ids")}
	rows := l.Rows
	for range rapid.IntRange(0, l.Seqs).Draw(t, "seqs") {
		q := tensor.SeqStep{Slot: number.Draw(t, "slot"), Start: number.Draw(t, "start"), Count: number.Draw(t, "count"),
			First: number.Draw(t, "first"), Keep: int32(rapid.IntRange(0, rows).Draw(t, "keep")), FirstRow: number.Draw(t, "row"),
			PromptLen: number.Draw(t, "prompt"), Reset: rapid.Bool().Draw(t, "reset")}
		rows -= int(q.Keep)
		s.Seqs = append(s.Seqs, q)
	}
	for range rapid.IntRange(0, l.Pages).Draw(t, "pages") {
		s.Pages = append(s.Pages, tensor.PageWrite{Slot: number.Draw(t, "slot"), Index: number.Draw(t, "index"), Page: number.Draw(t, "page")})
	}
	for range rapid.IntRange(0, l.Params).Draw(t, "params") {
		s.Params = append(s.Params, tensor.ParamWrite{Slot: number.Draw(t, "slot"), Sampling: drawSampling(t)})
	}
	for range rapid.IntRange(0, l.History).Draw(t, "history") {
		s.History = append(s.History, tensor.HistoryWrite{Slot: number.Draw(t, "slot"), ID: number.Draw(t, "id"), Generated: rapid.Bool().Draw(t, "generated")})
	}
	for range rapid.IntRange(0, l.Bias).Draw(t, "bias") {
		s.Bias = append(s.Bias, tensor.BiasWrite{Slot: number.Draw(t, "slot"), ID: number.Draw(t, "id"),
			Value: rapid.Float32().Draw(t, "value"), Until: number.Draw(t, "until")})
	}
	return s
}

func drawSampling(t *rapid.T) tensor.Sampling {
	f := rapid.Float32()
	return tensor.Sampling{Temperature: f.Draw(t, "temperature"), TopK: rapid.Int32().Draw(t, "top k"), TopP: f.Draw(t, "top p"),
		MinP: f.Draw(t, "min p"), Repetition: f.Draw(t, "repetition"), Presence: f.Draw(t, "presence"), Frequency: f.Draw(t, "frequency"),
		Seed: rapid.Uint64().Draw(t, "seed"), Choice: rapid.Uint32().Draw(t, "choice")}
}

func TestForwardBlockRoundTrip(t *testing.T) {
	var reused tensor.ForwardStep // Decode must forget what was in it
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 5)
		l := tensor.ForwardLimits{Tokens: n.Draw(t, "tokens"), Seqs: n.Draw(t, "sequences"), Rows: n.Draw(t, "rows"), Pages: n.Draw(t, "page room"),
			Params: n.Draw(t, "param room"), History: n.Draw(t, "history room"), Bias: n.Draw(t, "bias room")}
		s := drawStep(t, l)
		block := bytes.Repeat([]byte{0xee}, l.Bytes()+8)
		if err := l.Encode(block, s); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(block[l.Bytes():], bytes.Repeat([]byte{0xee}, 8)) {
			t.Fatal("Encode wrote behind the block")
		}
		l.Decode(block, &reused)
		if d := cmp.Diff(s, &reused, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("decoded otherwise (-want +have):\n%s", d)
		}
	})
}

func TestForwardBlockCapacity(t *testing.T) {
	full := tensor.ForwardStep{IDs: []int32{1, 2}, Seqs: []tensor.SeqStep{{Keep: 1}, {Keep: 1}}, Pages: make([]tensor.PageWrite, 2),
		Params: make([]tensor.ParamWrite, 2), History: make([]tensor.HistoryWrite, 2), Bias: make([]tensor.BiasWrite, 2)}
	enough := tensor.ForwardLimits{Tokens: 2, Seqs: 2, Rows: 2, Pages: 2, Params: 2, History: 2, Bias: 2}
	if err := enough.Encode(make([]byte, enough.Bytes()), &full); err != nil {
		t.Error(err)
	}
	if err := enough.Encode(make([]byte, enough.Bytes()-1), &full); err == nil {
		t.Error("a block that is too short should be refused")
	}
	for what, shrink := range map[string]func(*tensor.ForwardLimits){
		"tokens":           func(l *tensor.ForwardLimits) { l.Tokens-- },
		"sequences":        func(l *tensor.ForwardLimits) { l.Seqs-- },
		"kept rows":        func(l *tensor.ForwardLimits) { l.Rows-- },
		"page writes":      func(l *tensor.ForwardLimits) { l.Pages-- },
		"parameter writes": func(l *tensor.ForwardLimits) { l.Params-- },
		"history writes":   func(l *tensor.ForwardLimits) { l.History-- },
		"bias writes":      func(l *tensor.ForwardLimits) { l.Bias-- },
	} {
		l := enough
		shrink(&l)
		if err := l.Encode(make([]byte, enough.Bytes()), &full); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("one too many of %s: %v", what, err)
		}
	}
}

func TestHeadBlockRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Int32()
		var rows []tensor.HeadRow
		for range rapid.IntRange(0, 9).Draw(t, "rows") {
			rows = append(rows, tensor.HeadRow{Row: number.Draw(t, "row"), Slot: number.Draw(t, "slot"), Position: number.Draw(t, "position"),
				Sample: rapid.Bool().Draw(t, "sample"), Ask: number.Draw(t, "ask"), Top: number.Draw(t, "top")})
		}
		block := make([]byte, tensor.HeadBytes(len(rows)+1))
		if err := tensor.EncodeHead(block, rows); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(rows, tensor.DecodeHead(block, nil)); d != "" {
			t.Fatal(d)
		}
		if len(rows) > 0 && tensor.EncodeHead(block[:tensor.HeadBytes(len(rows))-1], rows) == nil {
			t.Fatal("a block that is too short should be refused")
		}
	})
}

func TestSampledRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number, value := rapid.Int32(), rapid.Float32()
		s := tensor.Sampled{ID: number.Draw(t, "id"), Logprob: value.Draw(t, "logprob"), Rank: number.Draw(t, "rank"),
			AskLogprob: value.Draw(t, "ask"), AskRank: number.Draw(t, "ask rank")}
		for i := range tensor.MaxTop {
			s.TopIDs[i], s.TopLogprob[i] = number.Draw(t, "top"), value.Draw(t, "top logprob")
		}
		b := make([]byte, tensor.SampledBytes)
		s.Put(b)
		if d := cmp.Diff(s, tensor.SampledFrom(b)); d != "" {
			t.Fatal(d)
		}
	})
}

func TestSamplingPenalized(t *testing.T) {
	none := tensor.Sampling{Repetition: 1, Temperature: 1, TopK: 5}
	if none.Penalized() {
		t.Error("nothing of this counts tokens")
	}
	for _, change := range []func(*tensor.Sampling){
		func(s *tensor.Sampling) { s.Repetition = 1.1 },
		func(s *tensor.Sampling) { s.Presence = -1 },
		func(s *tensor.Sampling) { s.Frequency = 0.1 },
	} {
		s := none
		change(&s)
		if !s.Penalized() {
			t.Errorf("%+v counts tokens", s)
		}
	}
	s := tensor.Sampling{Temperature: float32(math.NaN()), Seed: 1<<63 | 5, Choice: 7}
	words := s.Words()
	if have := tensor.SamplingFromWords(words[:]); have.Seed != s.Seed || have.Choice != 7 || have.Temperature == have.Temperature {
		t.Errorf("%+v came back as %+v", s, have)
	}
}

func TestSlotLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1000)
		s := tensor.SlotSpec{Slots: n.Draw(t, "slots"), MaxPages: n.Draw(t, "pages"), Vocab: n.Draw(t, "vocab"), Bias: n.Draw(t, "bias")}
		l, slots := s.Layout(), int64(s.Slots)
		at := int64(0)
		for _, a := range []struct{ offset, bytes int64 }{{l.Last, 4}, {l.Params, 64}, {l.Pages, 4 * int64(s.MaxPages)}, {l.Bias, 12 * int64(s.Bias)},
			{l.Biases, 4}, {l.Counts, 2 * int64(s.Vocab)}, {l.Prompt, 4 * int64(l.PromptWords)}} {
			if a.offset < at || a.offset%64 != 0 {
				t.Fatalf("%+v: an array at %d, the one before ends at %d", l, a.offset, at)
			}
			at = a.offset + a.bytes*slots
		}
		if l.Bytes < at || l.PromptWords*32 < s.Vocab {
			t.Fatalf("%+v: %d bytes for %d", l, l.Bytes, at)
		}
		if spec := (tensor.StateSpec{Slots: &s}); spec.Bytes() != l.Bytes || spec.Use() != tensor.UseSlots {
			t.Fatalf("the state has %d bytes of %s", spec.Bytes(), spec.Use())
		}
	})
}
