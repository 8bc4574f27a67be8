package tokenizer

// Decode returns the text of ids, with U+FFFD for each maximal part of a sequence that
// is not UTF-8. With skipSpecial, special tokens are left out ("<|im_end|>", but not
// "<think>"). Ids without a token are left out too.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	var b []byte
	for _, id := range ids {
		b = append(b, t.shown(id, skipSpecial)...)
	}
	return lossy(b)
}

// shown returns the bytes of a token in Decode's result.
func (t *Tokenizer) shown(id int32, skipSpecial bool) []byte {
	if skipSpecial && t.known(id) && t.flags[id]&flagSkip != 0 {
		return nil
	}
	return t.TokenBytes(id)
}

// Decoder decodes ids one by one, for streaming. The results of Push and the one of
// Flush together are what Decode returns. It is for one goroutine.
type Decoder struct {
	t           *Tokenizer
	skipSpecial bool
	pending     []byte // the beginning of a character
}

// NewDecoder returns a Decoder at the beginning of a text.
func (t *Tokenizer) NewDecoder(skipSpecial bool) *Decoder {
	return &Decoder{t: t, skipSpecial: skipSpecial}
}

// Push takes the next id and returns the text that is certain by now, which may be
// none: never half a character.
func (d *Decoder) Push(id int32) string {
	d.pending = append(d.pending, d.t.shown(id, d.skipSpecial)...)
	out, n := appendLossy(nil, d.pending)
	d.pending = append(d.pending[:0], d.pending[n:]...)
	return string(out)
}

// Flush returns the rest: U+FFFD if the text ends within a character. The Decoder is
// then as new.
func (d *Decoder) Flush() string {
	rest := lossy(d.pending)
	d.pending = d.pending[:0]
	return rest
}
