package tokenizer

import "fmt"

// Bytes returns a tokenizer for a model that has none: ids 0 to 255 are the bytes, each
// higher one decodes to a word of its own (" t1000"). There are no special tokens.
// With fewer than 256 ids, a byte is encoded as its remainder.
func Bytes(vocabSize int) *Tokenizer {
	vocabSize = max(vocabSize, 0)
	m := model{ids: make(map[string]int32, vocabSize), tokens: make([]string, 0, vocabSize)}
	chars := byteChars()
	for id := range vocabSize {
		var s string
		if id < len(chars) {
			s = string(chars[id])
		} else {
			s = fmt.Sprintf("%ct%d", chars[' '], id)
		}
		m.tokens = append(m.tokens, s)
		m.ids[s] = int32(id)
	}
	t, _ := m.build() // fails only for added tokens
	for b := range t.byteIDs {
		if vocabSize > 0 {
			t.byteIDs[b] = int32(b % vocabSize)
		}
	}
	return t
}
