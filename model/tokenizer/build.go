package tokenizer

import "fmt"

// Limits of what is read from files: far above every real model, and low enough that a
// small file cannot ask for much memory.
const (
	maxTokens       = 1 << 22 // ids are below
	maxAddedContent = 1 << 10 // bytes of an added token, since matching looks that far ahead
)

// model is a tokenizer as its file describes it, whichever format the file has.
type model struct {
	tokens []string         // by id, in the byte alphabet; "" where there is none
	ids    map[string]int32 // the inverse
	merges []merge
	added  []addedToken

	normalize    bool // to NFC
	splitters    []splitter
	ignoreMerges bool // a word that is a token is that token
	prefix       []int32
	suffix       []int32
}

// merge appends the merge of two tokens.
func (m *model) merge(left, right []byte, scratch *[]byte) error {
	l, okLeft := m.ids[string(left)]
	r, okRight := m.ids[string(right)]
	if !okLeft || !okRight {
		missing := left
		if okLeft {
			missing = right
		}
		return fmt.Errorf("merge %d is of %q, which is not in the vocabulary", len(m.merges), missing)
	}
	whole := append(append((*scratch)[:0], left...), right...)
	*scratch = whole
	// Tokens mostly stand in the order of the merges that make them.
	if n := len(m.merges); n > 0 {
		if next := int(m.merges[n-1].to) + 1; next < len(m.tokens) && m.tokens[next] == string(whole) {
			m.merges = append(m.merges, merge{l, r, int32(next)})
			return nil
		}
	}
	to, ok := m.ids[string(whole)]
	if !ok {
		return fmt.Errorf("merge %d makes %q, which is not in the vocabulary", len(m.merges), whole)
	}
	m.merges = append(m.merges, merge{l, r, to})
	return nil
}

// place puts a token at an id, which must be free.
func (m *model) place(token string, id int32) error {
	if int(id) >= len(m.tokens) {
		m.tokens = append(m.tokens, make([]string, int(id)+1-len(m.tokens))...)
	}
	if old := m.tokens[id]; old != "" {
		return fmt.Errorf("tokens %q and %q have the same id %d", old, token, id)
	}
	known := len(m.ids)
	m.ids[token] = id
	if len(m.ids) == known {
		return fmt.Errorf("token %q has two ids, %d and another", token, id)
	}
	m.tokens[id] = token
	return nil
}

// build makes the tokenizer.
func (m *model) build() (*Tokenizer, error) {
	t := &Tokenizer{
		tokens:       m.tokens,
		ids:          m.ids,
		flags:        make([]uint8, len(m.tokens)),
		offsets:      make([]uint32, len(m.tokens)+1),
		normalize:    m.normalize,
		splitters:    m.splitters,
		ignoreMerges: m.ignoreMerges,
		prefix:       m.prefix,
		suffix:       m.suffix,
	}
	if err := t.addTokens(m.added); err != nil {
		return nil, err
	}

	// What each token decodes to.
	alphabet := newCharBytes()
	size := 0
	for _, s := range m.tokens {
		size += len(s)
	}
	t.bytes = make([]byte, 0, size)
	renamed := map[int32]string{} // what decodes to something else than it is called
	if m.normalize {
		for _, a := range m.added {
			if s := nfc(a.content); a.normalized && s != a.content {
				renamed[a.id] = s
				// Hugging Face asks by this name whether to skip it.
				if id, ok := m.ids[s]; !ok || t.flags[id]&flagSpecial == 0 {
					t.flags[a.id] &^= flagSkip
				}
			}
		}
	}
	for id, s := range m.tokens {
		if other, ok := renamed[int32(id)]; ok {
			s = other
		}
		start := len(t.bytes)
		t.bytes = alphabet.appendToken(t.bytes, s)
		t.longest = max(t.longest, len(t.bytes)-start)
		t.offsets[id+1] = uint32(len(t.bytes))
	}

	for b, r := range byteChars() {
		id, ok := m.ids[string(r)]
		if !ok {
			id = none
		}
		t.byteIDs[b] = id
	}

	// No merge makes a special token: text that is not parsed for them cannot forge
	// one. Hugging Face finds them before it merges, so nothing else changes.
	t.merges = newMergeTable(m.merges, func(to int32) bool { return t.flags[to]&flagSpecial != 0 })
	return t, nil
}

// addTokens makes the matchers of the added tokens and flags them.
func (t *Tokenizer) addTokens(added []addedToken) error {
	var raw, normalized []addedToken
	seen := map[string]bool{}
	pattern := patternOf(t.normalize)
	for _, a := range added {
		if len(a.content) > maxAddedContent {
			return fmt.Errorf("added token %d has %d bytes, more than %d", a.id, len(a.content), maxAddedContent)
		}
		if a.normalized {
			if seen[pattern(a)] {
				return fmt.Errorf("added token %q is another one after normalization", a.content)
			}
			seen[pattern(a)] = true
			normalized = append(normalized, a)
		} else {
			raw = append(raw, a)
		}
		t.flags[a.id] |= flagAdded
		if a.special {
			t.flags[a.id] |= flagSpecial | flagSkip
		}
	}
	t.raw, t.normalized = newMatcher(raw, pattern), newMatcher(normalized, pattern)
	return nil
}

// checkAlphabet returns an error unless each byte that UTF-8 text can hold has a token.
func (m *model) checkAlphabet() error {
	missing := 0
	for b, r := range byteChars() {
		// C0, C1 and F5 to FF occur in no UTF-8
		if _, ok := m.ids[string(r)]; !ok && b != 0xC0 && b != 0xC1 && b < 0xF5 {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("the vocabulary lacks %d of the 256 bytes", missing)
	}
	return nil
}
