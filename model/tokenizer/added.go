package tokenizer

// addedToken is a token that is found in the text as such, before any splitting.
type addedToken struct {
	id         int32
	content    string
	special    bool // skipped by Decode with skipSpecial
	normalized bool // looked for after normalization
	singleWord bool // not where a word character is beside it
	lstrip     bool // takes the white space before it along
	rstrip     bool // and that behind it
}

// matcher finds added tokens: a trie of their bytes, of which the longest match from
// the leftmost start counts. nil finds nothing.
type matcher struct {
	tokens []addedToken
	nodes  []trieNode
	first  [256]bool // bytes that a token begins with
}

// trieNode is a node with its children as a list. Node 0 is the root, so that as a
// child or sibling 0 means none.
type trieNode struct {
	child, sibling int32
	token          int32 // index in tokens + 1 of the token that ends here
	char           byte
}

// newMatcher returns a matcher for tokens, none of which is empty, where pattern(token)
// is the text to look for.
func newMatcher(tokens []addedToken, pattern func(addedToken) string) *matcher {
	if len(tokens) == 0 {
		return nil
	}
	m := &matcher{tokens: tokens, nodes: make([]trieNode, 1)}
	for i, t := range tokens {
		p := pattern(t)
		m.first[p[0]] = true
		node := int32(0)
		for j := range len(p) {
			node = m.step(node, p[j], true)
		}
		m.nodes[node].token = int32(i) + 1
	}
	return m
}

// step returns the child of node for c; 0 if there is none and it is not to be made.
func (m *matcher) step(node int32, c byte, create bool) int32 {
	at := m.nodes[node].child
	for at != 0 && m.nodes[at].char != c {
		at = m.nodes[at].sibling
	}
	if at == 0 && create {
		at = int32(len(m.nodes))
		m.nodes = append(m.nodes, trieNode{sibling: m.nodes[node].child, char: c})
		m.nodes[node].child = at
	}
	return at
}

// find returns the leftmost-longest token in text[from:] and its place; nil if none.
func (m *matcher) find(text string, from int) (token *addedToken, start, end int) {
	for start = from; start < len(text); start++ {
		if !m.first[text[start]] {
			continue
		}
		node := int32(0)
		for i := start; i < len(text); i++ {
			if node = m.step(node, text[i], false); node == 0 {
				break
			}
			if n := m.nodes[node].token; n != 0 {
				token, end = &m.tokens[n-1], i+1
			}
		}
		if token != nil {
			return token, start, end
		}
	}
	return nil, 0, 0
}

// split cuts text at the added tokens and hands each piece to plain and each token's id
// to added, in order, until one returns false. It reports whether it got to the end.
//
// The order of the steps is Hugging Face's: a match that single_word rejects has used
// up its text, and white space belongs to the token that takes it first.
func (m *matcher) split(text string, plain func(string) bool, added func(int32) bool) bool {
	if m == nil {
		return text == "" || plain(text)
	}
	done := 0
	for from := 0; ; {
		t, start, end := m.find(text, from)
		if t == nil {
			break
		}
		from = end
		if t.singleWord && (wordBefore(text, start) || wordAt(text, end)) {
			continue
		}
		if t.lstrip {
			for start > done {
				k, n := classBefore(text, start)
				if k&space == 0 {
					break
				}
				start -= n
			}
		}
		if t.rstrip {
			for end < len(text) {
				k, n := classAt(text, end)
				if k&space == 0 {
					break
				}
				end += n
			}
		}
		if done < start && !plain(text[done:start]) {
			return false
		}
		if !added(t.id) {
			return false
		}
		done = end
	}
	return done == len(text) || plain(text[done:])
}

func wordBefore(text string, i int) bool {
	if i == 0 {
		return false
	}
	k, _ := classBefore(text, i)
	return k&word != 0
}

func wordAt(text string, i int) bool {
	if i == len(text) {
		return false
	}
	k, _ := classAt(text, i)
	return k&word != 0
}

// patternOf returns what to look for: the content, normalized if the token is.
func patternOf(normalize bool) func(addedToken) string {
	return func(t addedToken) string {
		if normalize && t.normalized {
			return nfc(t.content)
		}
		return t.content
	}
}
