package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A step block is what a Program reads from the host: little-endian 32-bit words, a header of counts and then sections
// of fixed capacity. Capacities belong to the bucket; counts vary from step to step.

// header is the number of words before the first section.
const header = 16

// Word offsets of the counts in a Forward block's header, and of the only count in a Head block's.
const (
	countTokens = iota
	countSeqs
	countRows
	countPages
	countParams
	countHistory
	countBias
)

// Words of one entry of each section.
const (
	seqWords     = 8
	pageWords    = 3
	paramWords   = 16
	historyWords = 3
	biasWords    = 5
	headRowWords = 8
)

// ForwardLimits are the capacities of a Forward block's sections.
type ForwardLimits struct {
	Tokens  int // input ids
	Seqs    int // sequences that have tokens in this step
	Rows    int // tokens whose last hidden row is kept for Head
	Pages   int // page-table entries written
	Params  int // slots whose sampling parameters are written
	History int // tokens of cached prefixes counted for penalties
	Bias    int // logit-bias entries written
}

// SeqStep is one sequence's part of a step: Count consecutive tokens that begin at position Start.
type SeqStep struct {
	Slot      int32
	Start     int32 // position of its first token in this step
	Count     int32
	First     int32 // index of that token among the block's ids
	Keep      int32 // the last Keep of its tokens have their hidden rows kept, in order
	FirstRow  int32 // index of the first of those rows
	PromptLen int32 // tokens before this position count as prompt, later ones as generated, for penalties
	Reset     bool  // the slot is given to this sequence now: forget counts, prompt bits and biases before anything else
}

// PageWrite puts Page at Index of a slot's page table.
type PageWrite struct{ Slot, Index, Page int32 }

// HistoryWrite counts a token that this step does not compute because its keys and values were cached.
type HistoryWrite struct {
	Slot, ID  int32
	Generated bool
}

// BiasWrite appends to the biases of a slot: Value is added to the logit of ID while the sampled position is below Until.
type BiasWrite struct {
	Slot, ID int32
	Value    float32 // -Inf forbids the token
	Until    int32   // math.MaxInt32: always
}

// Sampling is how the next token of a sequence is drawn; see the operation Sample.
type Sampling struct {
	Temperature float32 // 0: greedy
	TopK        int32   // 0: all
	TopP        float32 // 1: all
	MinP        float32 // 0: all
	Repetition  float32 // 1: none
	Presence    float32 // 0: none
	Frequency   float32 // 0: none
	Seed        uint64
	Choice      uint32 // index among the n choices of one prompt
}

// Penalized tells whether counts of earlier tokens matter.
func (s Sampling) Penalized() bool {
	return s.Repetition != 1 || s.Presence != 0 || s.Frequency != 0
}

// Words encodes s as the slots hold it.
func (s Sampling) Words() [paramWords]uint32 {
	f := math.Float32bits
	return [paramWords]uint32{f(s.Temperature), uint32(s.TopK), f(s.TopP), f(s.MinP), f(s.Repetition), f(s.Presence),
		f(s.Frequency), uint32(s.Seed), uint32(s.Seed >> 32), s.Choice}
}

// SamplingFromWords decodes what Words encoded.
func SamplingFromWords(w []uint32) Sampling {
	f := math.Float32frombits
	return Sampling{Temperature: f(w[0]), TopK: int32(w[1]), TopP: f(w[2]), MinP: f(w[3]), Repetition: f(w[4]),
		Presence: f(w[5]), Frequency: f(w[6]), Seed: uint64(w[7]) | uint64(w[8])<<32, Choice: w[9]}
}

// ParamWrite sets a slot's sampling parameters.
type ParamWrite struct {
	Slot     int32
	Sampling Sampling
}

// ForwardStep is the content of a Forward block.
type ForwardStep struct {
	IDs     []int32 // -1: the id that the token's sequence sampled last
	Seqs    []SeqStep
	Pages   []PageWrite
	Params  []ParamWrite
	History []HistoryWrite
	Bias    []BiasWrite
}

// Rows is the number of hidden rows that the step keeps.
func (s *ForwardStep) Rows() int {
	n := 0
	for _, q := range s.Seqs {
		n += int(q.Keep)
	}
	return n
}

// offsets are the word offsets of the sections and, last, of the block's end.
func (l ForwardLimits) offsets() (ids, seqs, pages, params, history, bias, end int) {
	ids = header
	seqs = ids + l.Tokens
	pages = seqs + l.Seqs*seqWords
	params = pages + l.Pages*pageWords
	history = params + l.Params*(1+paramWords)
	bias = history + l.History*historyWords
	end = bias + l.Bias*biasWords
	return
}

// Bytes is the size of a block with these capacities.
func (l ForwardLimits) Bytes() int {
	_, _, _, _, _, _, end := l.offsets()
	return 4 * end
}

// Encode writes the step into a block of l.Bytes() bytes. It fails when a section does not fit.
func (l ForwardLimits) Encode(dst []byte, s *ForwardStep) error {
	for _, c := range []struct {
		what   string
		n, cap int
	}{{"tokens", len(s.IDs), l.Tokens}, {"sequences", len(s.Seqs), l.Seqs}, {"kept rows", s.Rows(), l.Rows},
		{"page writes", len(s.Pages), l.Pages}, {"parameter writes", len(s.Params), l.Params},
		{"history writes", len(s.History), l.History}, {"bias writes", len(s.Bias), l.Bias}} {
		if c.n > c.cap {
			return fmt.Errorf("tensor: step has %d %s, its block holds %d", c.n, c.what, c.cap)
		}
	}
	if len(dst) < l.Bytes() {
		return fmt.Errorf("tensor: step block of %d bytes, want %d", len(dst), l.Bytes())
	}
	w := wordWriter(dst)
	ids, seqs, pages, params, history, bias, _ := l.offsets()
	for i, n := range []int{len(s.IDs), len(s.Seqs), s.Rows(), len(s.Pages), len(s.Params), len(s.History), len(s.Bias)} {
		w.put(i, uint32(n))
	}
	for i, id := range s.IDs {
		w.put(ids+i, uint32(id))
	}
	for i, q := range s.Seqs {
		w.put(seqs+i*seqWords, uint32(q.Slot), uint32(q.Start), uint32(q.Count), uint32(q.First), uint32(q.Keep),
			uint32(q.FirstRow), uint32(q.PromptLen), flag(q.Reset))
	}
	for i, p := range s.Pages {
		w.put(pages+i*pageWords, uint32(p.Slot), uint32(p.Index), uint32(p.Page))
	}
	for i, p := range s.Params {
		w.put(params+i*(1+paramWords), uint32(p.Slot))
		words := p.Sampling.Words()
		w.put(params+i*(1+paramWords)+1, words[:]...)
	}
	for i, h := range s.History {
		w.put(history+i*historyWords, uint32(h.Slot), uint32(h.ID), flag(h.Generated))
	}
	for i, b := range s.Bias {
		w.put(bias+i*biasWords, uint32(b.Slot), uint32(b.ID), math.Float32bits(b.Value), uint32(b.Until), 0)
	}
	return nil
}

// Decode reads a block; host backends use it. The slices of s are reused.
func (l ForwardLimits) Decode(src []byte, s *ForwardStep) {
	r := wordReader(src)
	ids, seqs, pages, params, history, bias, _ := l.offsets()
	s.IDs, s.Seqs, s.Pages = s.IDs[:0], s.Seqs[:0], s.Pages[:0]
	s.Params, s.History, s.Bias = s.Params[:0], s.History[:0], s.Bias[:0]
	for i := range r.i32(countTokens) {
		s.IDs = append(s.IDs, r.i32(ids+int(i)))
	}
	for i := range int(r.i32(countSeqs)) {
		at := seqs + i*seqWords
		s.Seqs = append(s.Seqs, SeqStep{r.i32(at), r.i32(at + 1), r.i32(at + 2), r.i32(at + 3), r.i32(at + 4),
			r.i32(at + 5), r.i32(at + 6), r.i32(at+7) != 0})
	}
	for i := range int(r.i32(countPages)) {
		at := pages + i*pageWords
		s.Pages = append(s.Pages, PageWrite{r.i32(at), r.i32(at + 1), r.i32(at + 2)})
	}
	for i := range int(r.i32(countParams)) {
		at := params + i*(1+paramWords)
		var words [paramWords]uint32
		for j := range words {
			words[j] = uint32(r.i32(at + 1 + j))
		}
		s.Params = append(s.Params, ParamWrite{r.i32(at), SamplingFromWords(words[:])})
	}
	for i := range int(r.i32(countHistory)) {
		at := history + i*historyWords
		s.History = append(s.History, HistoryWrite{r.i32(at), r.i32(at + 1), r.i32(at+2) != 0})
	}
	for i := range int(r.i32(countBias)) {
		at := bias + i*biasWords
		s.Bias = append(s.Bias, BiasWrite{r.i32(at), r.i32(at + 1), math.Float32frombits(uint32(r.i32(at + 2))), r.i32(at + 3)})
	}
}

// HeadRow is one row of a Head block: which kept row to read and what to do with its logits.
type HeadRow struct {
	Row      int32 // index among the kept rows
	Slot     int32
	Position int32 // of the token that the logits are for
	Sample   bool  // draw a token and make it the slot's last; else only logprobs are wanted
	Ask      int32 // id whose logprob is asked for; -1 for none
	Top      int32 // how many of the most likely tokens to report, at most MaxTop
}

// MaxTop is the largest number of most likely tokens that Sample reports.
const MaxTop = 20

// HeadBytes is the size of a Head block for this many rows.
func HeadBytes(rows int) int { return 4 * (header + rows*headRowWords) }

// EncodeHead writes a Head block for the rows into dst.
func EncodeHead(dst []byte, rows []HeadRow) error {
	if len(dst) < HeadBytes(len(rows)) {
		return fmt.Errorf("tensor: head block of %d bytes, %d rows need %d", len(dst), len(rows), HeadBytes(len(rows)))
	}
	w := wordWriter(dst)
	w.put(0, uint32(len(rows)))
	for i, r := range rows {
		w.put(header+i*headRowWords, uint32(r.Row), uint32(r.Slot), uint32(r.Position), flag(r.Sample), uint32(r.Ask),
			uint32(r.Top), 0, 0)
	}
	return nil
}

// DecodeHead reads a Head block, appending to rows.
func DecodeHead(src []byte, rows []HeadRow) []HeadRow {
	r := wordReader(src)
	for i := range int(r.i32(0)) {
		at := header + i*headRowWords
		rows = append(rows, HeadRow{r.i32(at), r.i32(at + 1), r.i32(at + 2), r.i32(at+3) != 0, r.i32(at + 4), r.i32(at + 5)})
	}
	return rows
}

// Sampled is what Sample reports for one row. Logprobs are natural logarithms under the model's own distribution, before
// penalties, biases and temperature.
type Sampled struct {
	ID         int32   // the token drawn; -1 where nothing was to be drawn
	Logprob    float32 // of ID
	Rank       int32   // how many tokens are more likely than ID, plus one; set when Top > 0
	AskLogprob float32 // of HeadRow.Ask
	AskRank    int32
	TopIDs     [MaxTop]int32 // most likely first; only the first HeadRow.Top are set
	TopLogprob [MaxTop]float32
}

// SampledBytes is the size of one row of Sample's output.
const SampledBytes = 4 * (8 + 2*MaxTop)

// Put encodes s into dst as Sample's output block holds it.
func (s *Sampled) Put(dst []byte) {
	w := wordWriter(dst)
	f := math.Float32bits
	w.put(0, uint32(s.ID), f(s.Logprob), uint32(s.Rank), f(s.AskLogprob), uint32(s.AskRank), 0, 0, 0)
	for i := range MaxTop {
		w.put(8+i, uint32(s.TopIDs[i]))
		w.put(8+MaxTop+i, f(s.TopLogprob[i]))
	}
}

// SampledFrom decodes one row of Sample's output.
func SampledFrom(src []byte) Sampled {
	r := wordReader(src)
	f := func(i int) float32 { return math.Float32frombits(uint32(r.i32(i))) }
	s := Sampled{ID: r.i32(0), Logprob: f(1), Rank: r.i32(2), AskLogprob: f(3), AskRank: r.i32(4)}
	for i := range MaxTop {
		s.TopIDs[i] = r.i32(8 + i)
		s.TopLogprob[i] = f(8 + MaxTop + i)
	}
	return s
}

type wordWriter []byte

func (w wordWriter) put(at int, words ...uint32) {
	for i, v := range words {
		binary.LittleEndian.PutUint32(w[4*(at+i):], v)
	}
}

type wordReader []byte

func (r wordReader) i32(at int) int32 { return int32(binary.LittleEndian.Uint32(r[4*at:])) }

func flag(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
