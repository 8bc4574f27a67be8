package tensor

// PageTokens is the number of tokens whose keys and values share one KV page.
const PageTokens = 16

// AttentionChunk is the number of tokens, at absolute positions, over which attention accumulates before it merges with
// what stands left of them. Decode and prefill share it, so that a prompt's cut into chunks changes no bit.
const AttentionChunk = 256

// StateSpec describes a State; exactly one of KV, Slots and Rows is set.
type StateSpec struct {
	Name  string // as graphs name it: "k.0", "v.0", "slots", "hidden"
	KV    *KVSpec
	Slots *SlotSpec
	Rows  *RowSpec
}

// KVSpec is one layer's cache of keys or of values.
//
// Layout: [page][KV head][token][dim] in Format. For Q8_0 the integers come first in that order as int8, then a plane of
// f16 scales [page][KV head][token][dim/32].
type KVSpec struct {
	Pages   int
	KVHeads int
	HeadDim int
	Format  Format // F32, F16, BF16 or Q8_0
}

// Values is the number of values in the cache.
func (k KVSpec) Values() int { return k.Pages * k.KVHeads * PageTokens * k.HeadDim }

// Bytes is the size of the cache in ref's layout.
func (k KVSpec) Bytes() int64 {
	return int64(k.Pages*k.KVHeads*PageTokens) * int64(k.Format.RowBytes(k.HeadDim))
}

// RowSpec is a block of f32 rows, [Rows][Cols]: the hidden rows that Forward keeps for Head.
type RowSpec struct{ Rows, Cols int }

// Bytes is the size of the block.
func (r RowSpec) Bytes() int64 { return int64(r.Rows) * int64(r.Cols) * 4 }

// Bytes is the state's size in ref's layout.
func (s StateSpec) Bytes() int64 {
	switch {
	case s.KV != nil:
		return s.KV.Bytes()
	case s.Slots != nil:
		return s.Slots.Layout().Bytes
	case s.Rows != nil:
		return s.Rows.Bytes()
	}
	return 0
}

// Use is what the ledger counts the state under.
func (s StateSpec) Use() Use {
	if s.KV != nil {
		return UseKV
	}
	return UseSlots
}

// SlotSpec sizes the sequence slots: what each running sequence carries from step to step on the device.
type SlotSpec struct {
	Slots    int // sequences that can run at once
	MaxPages int // pages of one sequence: ceil(context length / PageTokens)
	Vocab    int // rows of the lm head
	Bias     int // logit-bias entries a sequence may have
}

// SlotLayout is where the slots' arrays lie in their State, as byte offsets. All values are little endian.
//
//	Last   [slot]            i32   the id sampled last, which an input id of -1 stands for
//	Params [slot][16]        u32   sampling parameters: see Sampling.Words
//	Pages  [slot][MaxPages]  i32   page table: page number of tokens 16i … 16i+15
//	Bias   [slot][Bias][3]   u32   token id (i32), bias (f32), position before which it applies (i32; until)
//	Biases [slot]            i32   how many bias entries are set
//	Counts [slot][Vocab]     u16   times a token was generated, saturating
//	Prompt [slot][⌈Vocab/32⌉] u32  one bit for each token that occurs in the prompt
type SlotLayout struct {
	Last, Params, Pages, Bias, Biases, Counts, Prompt int64
	Bytes                                             int64
	PromptWords                                       int // u32 words of one slot's prompt bits
}

// Layout places the arrays, each aligned to 64 bytes.
func (s SlotSpec) Layout() SlotLayout {
	var l SlotLayout
	at := int64(0)
	place := func(bytes int64) int64 {
		o := at
		at += (bytes + 63) / 64 * 64
		return o
	}
	n := int64(s.Slots)
	l.PromptWords = (s.Vocab + 31) / 32
	l.Last = place(4 * n)
	l.Params = place(4 * paramWords * n)
	l.Pages = place(4 * n * int64(s.MaxPages))
	l.Bias = place(12 * n * int64(s.Bias))
	l.Biases = place(4 * n)
	l.Counts = place(2 * n * int64(s.Vocab))
	l.Prompt = place(4 * n * int64(l.PromptWords))
	l.Bytes = at
	return l
}
