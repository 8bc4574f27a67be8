package ref

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ullm/ullm/tensor"
)

// slots reads and writes the sequence slots as tensor.SlotLayout places them.
type slots struct {
	mem    []byte
	spec   tensor.SlotSpec
	layout tensor.SlotLayout
}

// check fails on a slot that does not exist.
func (s *slots) check(slot int32) error {
	if slot < 0 || int(slot) >= s.spec.Slots {
		return fmt.Errorf("slot %d of %d", slot, s.spec.Slots)
	}
	return nil
}

func (s *slots) get(base int64, word int) uint32 {
	return binary.LittleEndian.Uint32(s.mem[base+4*int64(word):])
}

func (s *slots) set(base int64, word int, v uint32) {
	binary.LittleEndian.PutUint32(s.mem[base+4*int64(word):], v)
}

func (s *slots) last(slot int32) int32        { return int32(s.get(s.layout.Last, int(slot))) }
func (s *slots) setLast(slot int32, id int32) { s.set(s.layout.Last, int(slot), uint32(id)) }

func (s *slots) params(slot int32) tensor.Sampling {
	words := tensor.Sampling{}.Words()
	for i := range words {
		words[i] = s.get(s.layout.Params, int(slot)*len(words)+i)
	}
	return tensor.SamplingFromWords(words[:])
}

func (s *slots) setParams(slot int32, p tensor.Sampling) {
	words := p.Words()
	for i, w := range words {
		s.set(s.layout.Params, int(slot)*len(words)+i, w)
	}
}

func (s *slots) page(slot int32, index int) int32 {
	return int32(s.get(s.layout.Pages, int(slot)*s.spec.MaxPages+index))
}

func (s *slots) setPage(slot int32, index int, page int32) {
	s.set(s.layout.Pages, int(slot)*s.spec.MaxPages+index, uint32(page))
}

// biases are the bias entries of a slot, in the order in which they were written.
func (s *slots) biases(slot int32) []tensor.BiasWrite {
	n := int(s.get(s.layout.Biases, int(slot)))
	list := make([]tensor.BiasWrite, n)
	for i := range list {
		at := (int(slot)*s.spec.Bias + i) * 3
		list[i] = tensor.BiasWrite{Slot: slot, ID: int32(s.get(s.layout.Bias, at)),
			Value: math.Float32frombits(s.get(s.layout.Bias, at+1)), Until: int32(s.get(s.layout.Bias, at+2))}
	}
	return list
}

func (s *slots) addBias(b tensor.BiasWrite) error {
	n := int(s.get(s.layout.Biases, int(b.Slot)))
	if n >= s.spec.Bias {
		return fmt.Errorf("slot %d has its %d biases already", b.Slot, n)
	}
	at := (int(b.Slot)*s.spec.Bias + n) * 3
	s.set(s.layout.Bias, at, uint32(b.ID))
	s.set(s.layout.Bias, at+1, math.Float32bits(b.Value))
	s.set(s.layout.Bias, at+2, uint32(b.Until))
	s.set(s.layout.Biases, int(b.Slot), uint32(n+1))
	return nil
}

// count is how often a token was generated.
func (s *slots) count(slot, id int32) uint16 {
	return binary.LittleEndian.Uint16(s.mem[s.layout.Counts+2*(int64(slot)*int64(s.spec.Vocab)+int64(id)):])
}

// prompted tells whether a token occurs in the prompt.
func (s *slots) prompted(slot, id int32) bool {
	return s.get(s.layout.Prompt, int(slot)*s.layout.PromptWords+int(id)/32)>>(id%32)&1 != 0
}

// note counts a token for penalties. Ids outside the vocabulary are not counted.
func (s *slots) note(slot, id int32, generated bool) {
	if id < 0 || int(id) >= s.spec.Vocab {
		return
	}
	if !generated {
		word := int(slot)*s.layout.PromptWords + int(id)/32
		s.set(s.layout.Prompt, word, s.get(s.layout.Prompt, word)|1<<(id%32))
		return
	}
	if c := s.count(slot, id); c < math.MaxUint16 {
		binary.LittleEndian.PutUint16(s.mem[s.layout.Counts+2*(int64(slot)*int64(s.spec.Vocab)+int64(id)):], c+1)
	}
}

// reset forgets counts, prompt bits and biases.
func (s *slots) reset(slot int32) {
	counts := 2 * int64(s.spec.Vocab)
	clear(s.mem[s.layout.Counts+int64(slot)*counts:][:counts])
	prompt := 4 * int64(s.layout.PromptWords)
	clear(s.mem[s.layout.Prompt+int64(slot)*prompt:][:prompt])
	s.set(s.layout.Biases, int(slot), 0)
}
