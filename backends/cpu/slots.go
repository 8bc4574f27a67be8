package cpu

import (
	"fmt"
	"math"

	"github.com/ullm/ullm/tensor"
)

// slots reads and writes the sequence slots, in place as tensor.SlotLayout lays them out.
type slots struct {
	spec    tensor.SlotSpec
	words   int // of a slot's prompt bits
	last    []int32
	params  []uint32
	page    []int32
	bias    []uint32
	biases  []int32
	counts  []uint16
	prompts []uint32
}

const paramWords = len([16]uint32{})

func newSlots(mem []byte, s tensor.SlotSpec) *slots {
	l := s.Layout()
	return &slots{spec: s, words: l.PromptWords,
		last:    view[int32](mem, int(l.Last), s.Slots),
		params:  view[uint32](mem, int(l.Params), s.Slots*paramWords),
		page:    view[int32](mem, int(l.Pages), s.Slots*s.MaxPages),
		bias:    view[uint32](mem, int(l.Bias), s.Slots*s.Bias*3),
		biases:  view[int32](mem, int(l.Biases), s.Slots),
		counts:  view[uint16](mem, int(l.Counts), s.Slots*s.Vocab),
		prompts: view[uint32](mem, int(l.Prompt), s.Slots*l.PromptWords),
	}
}

// check fails on a slot that does not exist.
func (s *slots) check(slot int32) error {
	if slot < 0 || int(slot) >= s.spec.Slots {
		return fmt.Errorf("slot %d of %d", slot, s.spec.Slots)
	}
	return nil
}

// pages is a slot's page table.
func (s *slots) pages(slot int32) []int32 {
	return s.page[int(slot)*s.spec.MaxPages:][:s.spec.MaxPages]
}

// count is how often each token was generated, prompted the bits of the tokens in the prompt.
func (s *slots) count(slot int32) []uint16    { return s.counts[int(slot)*s.spec.Vocab:][:s.spec.Vocab] }
func (s *slots) prompted(slot int32) []uint32 { return s.prompts[int(slot)*s.words:][:s.words] }

func (s *slots) sampling(slot int32) tensor.Sampling {
	return tensor.SamplingFromWords(s.params[int(slot)*paramWords:][:paramWords])
}

func (s *slots) setSampling(slot int32, p tensor.Sampling) {
	words := p.Words()
	copy(s.params[int(slot)*paramWords:], words[:])
}

// eachBias calls f with the biases of a slot that apply at a position, in the order in which they were written.
func (s *slots) eachBias(slot, position int32, f func(id int32, value float32)) {
	for i := range int(s.biases[slot]) {
		b := s.bias[(int(slot)*s.spec.Bias+i)*3:][:3]
		if position < int32(b[2]) {
			f(int32(b[0]), math.Float32frombits(b[1]))
		}
	}
}

func (s *slots) addBias(b tensor.BiasWrite) error {
	n := int(s.biases[b.Slot])
	if n >= s.spec.Bias {
		return fmt.Errorf("slot %d has its %d biases already", b.Slot, n)
	}
	copy(s.bias[(int(b.Slot)*s.spec.Bias+n)*3:], []uint32{uint32(b.ID), math.Float32bits(b.Value), uint32(b.Until)})
	s.biases[b.Slot]++
	return nil
}

// note counts a token for penalties. Ids outside the vocabulary are not counted.
func (s *slots) note(slot, id int32, generated bool) {
	if id < 0 || int(id) >= s.spec.Vocab {
		return
	}
	if !generated {
		s.prompted(slot)[id/32] |= 1 << (id % 32)
	} else if c := &s.count(slot)[id]; *c < math.MaxUint16 {
		*c++
	}
}

// reset forgets counts, prompt bits and biases.
func (s *slots) reset(slot int32) {
	clear(s.count(slot))
	clear(s.prompted(slot))
	s.biases[slot] = 0
}
