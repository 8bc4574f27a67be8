package tensortest

import (
	"encoding/binary"
	"math"

	"github.com/ullm/ullm/tensor"
)

// Slots builds the content of a slots state, in ref's layout, for cases that begin in the middle of things.
type Slots struct {
	Spec tensor.SlotSpec
	Data []byte
	at   tensor.SlotLayout
}

// NewSlots are slots in which nothing is set but parameters that draw from the whole distribution.
func NewSlots(spec tensor.SlotSpec) *Slots {
	s := &Slots{Spec: spec, at: spec.Layout()}
	s.Data = make([]byte, s.at.Bytes)
	for i := range spec.Slots {
		s.Params(i, tensor.Sampling{Temperature: 1, TopP: 1, Repetition: 1})
		for p := range spec.MaxPages {
			s.Page(i, p, -1)
		}
	}
	return s
}

// State is the state that these slots initialise.
func (s *Slots) State(name string) StateInit {
	return StateInit{tensor.StateSpec{Name: name, Slots: &s.Spec}, s.Data}
}

func (s *Slots) put(base int64, word int, v uint32) {
	binary.LittleEndian.PutUint32(s.Data[base+4*int64(word):], v)
}

// Params sets a slot's sampling parameters.
func (s *Slots) Params(slot int, p tensor.Sampling) {
	words := p.Words()
	for i, w := range words {
		s.put(s.at.Params, slot*len(words)+i, w)
	}
}

// Page sets an entry of a slot's page table.
func (s *Slots) Page(slot, index, page int) {
	s.put(s.at.Pages, slot*s.Spec.MaxPages+index, uint32(page))
}

// Last sets the id that a slot sampled last.
func (s *Slots) Last(slot int, id int32) { s.put(s.at.Last, slot, uint32(id)) }

// Bias appends to a slot's biases.
func (s *Slots) Bias(slot int, id int32, value float32, until int32) {
	n := int(binary.LittleEndian.Uint32(s.Data[s.at.Biases+4*int64(slot):]))
	at := (slot*s.Spec.Bias + n) * 3
	s.put(s.at.Bias, at, uint32(id))
	s.put(s.at.Bias, at+1, math.Float32bits(value))
	s.put(s.at.Bias, at+2, uint32(until))
	s.put(s.at.Biases, slot, uint32(n+1))
}

// Count says how often a token was generated.
func (s *Slots) Count(slot, id int, n uint16) {
	binary.LittleEndian.PutUint16(s.Data[s.at.Counts+2*int64(slot*s.Spec.Vocab+id):], n)
}

// Prompted marks a token as one of the prompt.
func (s *Slots) Prompted(slot, id int) {
	at := s.at.Prompt + 4*int64(slot*s.at.PromptWords+id/32)
	binary.LittleEndian.PutUint32(s.Data[at:], binary.LittleEndian.Uint32(s.Data[at:])|1<<(id%32))
}

// canonical clears what has no meaning in an exported slots state: bias entries beyond those that are set.
func (s *Slots) canonical(export []byte) []byte {
	c := append([]byte(nil), export...)
	for i := range s.Spec.Slots {
		n := int(binary.LittleEndian.Uint32(c[s.at.Biases+4*int64(i):]))
		first := s.at.Bias + 12*int64(i*s.Spec.Bias)
		clear(c[first+12*int64(min(n, s.Spec.Bias)):][:12*(s.Spec.Bias-min(n, s.Spec.Bias))])
	}
	return c
}
