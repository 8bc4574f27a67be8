package tokenizer

import "fmt"

// FromJSON reads a Hugging Face tokenizer.json: a BPE model over the bytes of text. A
// file with parts that are not supported is refused with an error that names the part.
//
// truncation and padding are ignored: they concern batches for training. The tokens
// that post_processor adds are AddSpecial's matter.
func FromJSON(tokenizerJSON []byte) (*Tokenizer, error) {
	t, err := fromJSON(tokenizerJSON)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: tokenizer.json: %w", err)
	}
	return t, nil
}

// tokenizerFile is the small parts of a tokenizer.json.
type tokenizerFile struct {
	added         []addedTokenJSON
	normalizer    *componentJSON
	preTokenizer  *componentJSON
	postProcessor *componentJSON
	decoder       *componentJSON
	model         modelJSON
}

type addedTokenJSON struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	Lstrip     bool   `json:"lstrip"`
	Rstrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// modelJSON is the small fields of the model.
type modelJSON struct {
	kind         string
	dropout      float64
	unk          string
	prefix       string
	suffix       string
	byteFallback bool
	ignoreMerges bool
	hasVocab     bool
	hasMerges    bool
}

func fromJSON(data []byte) (*Tokenizer, error) {
	var f tokenizerFile
	m := &model{ids: map[string]int32{}}
	r := &reader{b: data}
	seen := map[string]bool{}
	err := r.object(func(name []byte) error {
		field := string(name)
		if seen[field] {
			return r.errorf("%q comes twice", field)
		}
		var err error
		switch field {
		case "version":
			var v string
			if err = r.decode(&v); err == nil && v != "1.0" {
				err = fmt.Errorf("version %q is not supported", v)
			}
		case "added_tokens":
			err = r.decode(&f.added)
		case "normalizer":
			err = r.decode(&f.normalizer)
		case "pre_tokenizer":
			err = r.decode(&f.preTokenizer)
		case "post_processor":
			err = r.decode(&f.postProcessor)
		case "decoder":
			err = r.decode(&f.decoder)
		case "model":
			err = f.model.read(r, m)
		default:
			_, err = r.skip()
			return err
		}
		seen[field] = true
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		return nil
	})
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return nil, err
	}

	if err := f.model.check(m); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if err := m.addJSON(f.added); err != nil {
		return nil, fmt.Errorf("added_tokens: %w", err)
	}
	if m.normalize, err = f.normalizer.normalizer(); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if err := m.setPreTokenizer(f.preTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if err := m.setPostProcessor(f.postProcessor); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	if err := f.decoder.checkDecoder(); err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	return m.build()
}

// read reads the model: vocab and merges into m, the rest into f.
func (f *modelJSON) read(r *reader, m *model) error {
	mergesAt := -1 // where merges are, if they come before vocab
	seen := map[string]bool{}
	err := r.object(func(name []byte) error {
		field := string(name)
		if seen[field] {
			return r.errorf("%q comes twice", field)
		}
		seen[field] = true
		var err error
		switch field {
		case "type":
			err = r.decode(&f.kind)
		case "dropout":
			err = r.decode(&f.dropout)
		case "unk_token":
			err = r.decode(&f.unk)
		case "continuing_subword_prefix":
			err = r.decode(&f.prefix)
		case "end_of_word_suffix":
			err = r.decode(&f.suffix)
		case "byte_fallback":
			err = r.decode(&f.byteFallback)
		case "ignore_merges":
			err = r.decode(&f.ignoreMerges)
		case "vocab":
			f.hasVocab = true
			err = m.readVocab(r)
		case "merges":
			f.hasMerges = true
			if r.peek(); !f.hasVocab {
				mergesAt = r.i
				_, err = r.skip()
			} else {
				err = m.readMerges(r)
			}
		default:
			_, err = r.skip()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		return nil
	})
	if err == nil && mergesAt >= 0 && f.hasVocab {
		if err = m.readMerges(&reader{b: r.b, i: mergesAt}); err != nil {
			err = fmt.Errorf("merges: %w", err)
		}
	}
	return err
}

// check refuses what is not supported and passes the rest on to m.
func (f *modelJSON) check(m *model) error {
	switch {
	case f.kind != "" && f.kind != "BPE":
		return fmt.Errorf("type %q is not supported, only BPE", f.kind)
	case !f.hasVocab || !f.hasMerges:
		return fmt.Errorf("vocab or merges are missing")
	case f.dropout != 0:
		return fmt.Errorf("dropout is not supported")
	case f.prefix != "":
		return fmt.Errorf("continuing_subword_prefix is not supported")
	case f.suffix != "":
		return fmt.Errorf("end_of_word_suffix is not supported")
	}
	if f.unk != "" || f.byteFallback {
		// With all bytes there, nothing is ever unknown.
		if err := m.checkAlphabet(); err != nil {
			return fmt.Errorf("%w: unk_token and byte_fallback are supported only if none is missing", err)
		}
	}
	m.ignoreMerges = f.ignoreMerges
	return nil
}

// readVocab reads the object of tokens and their ids.
func (m *model) readVocab(r *reader) error {
	type entry struct {
		end int // in text; the token begins where the one before ends
		id  int32
	}
	// Of the rest of the file, the vocabulary takes a third and more, 20 bytes and more
	// for a token of 7.
	rest := len(r.b) - r.i
	entries := make([]entry, 0, rest/64)
	text := make([]byte, 0, rest/8) // all tokens: one string instead of one for each
	highest := int32(-1)
	err := r.object(func(name []byte) error {
		id, err := r.id()
		if err != nil {
			return err
		}
		text = append(text, name...)
		entries = append(entries, entry{len(text), id})
		highest = max(highest, id)
		return nil
	})
	if err != nil {
		return err
	}
	if int(highest) > len(entries)*8+1<<16 {
		return fmt.Errorf("%d tokens with ids up to %d: too sparse", len(entries), highest)
	}
	m.tokens = make([]string, highest+1)
	m.ids = make(map[string]int32, len(entries))
	all, start := string(text), 0
	for _, e := range entries {
		token := all[start:e.end]
		start = e.end
		if token == "" {
			return fmt.Errorf("token %d is empty", e.id)
		}
		if err := m.place(token, e.id); err != nil {
			return err
		}
	}
	return nil
}

// readMerges reads merges, as ["a", "b"] or, in older files, as "a b".
func (m *model) readMerges(r *reader) error {
	var left, right, whole []byte
	m.merges = make([]merge, 0, len(m.ids))
	return r.array(func() error {
		var err error
		if r.peek() == '"' {
			if left, err = r.string(left[:0]); err != nil {
				return err
			}
			l, rest, err := cutMerge(left, len(m.merges))
			if err != nil {
				return err
			}
			return m.merge(l, rest, &whole)
		}
		n := 0
		err = r.array(func() error {
			n++
			switch n {
			case 1:
				left, err = r.string(left[:0])
			case 2:
				right, err = r.string(right[:0])
			default:
				err = r.errorf("merge %d has more than two parts", len(m.merges))
			}
			return err
		})
		if err == nil && n < 2 {
			err = r.errorf("merge %d has fewer than two parts", len(m.merges))
		}
		if err != nil {
			return err
		}
		return m.merge(left, right, &whole)
	})
}

// addJSON adds the added tokens. Those that the vocabulary lacks get the next ids,
// whatever the file says; a file that says something else was edited by hand.
func (m *model) addJSON(added []addedTokenJSON) error {
	next := int32(len(m.ids))
	seen := map[string]addedTokenJSON{}
	for _, a := range added {
		if a.Content == "" {
			continue // as Hugging Face does
		}
		if old, ok := seen[a.Content]; ok {
			if a != old {
				return fmt.Errorf("token %q comes twice", a.Content)
			}
			continue
		}
		seen[a.Content] = a
		id, ok := m.ids[a.Content]
		if !ok {
			id = next
			next++
		}
		if a.ID != int64(id) {
			return fmt.Errorf("token %q has id %d where Hugging Face gives it %d", a.Content, a.ID, id)
		}
		if !ok {
			if err := m.place(a.Content, id); err != nil {
				return err
			}
		}
		m.added = append(m.added, addedToken{
			id: id, content: a.Content, special: a.Special, normalized: a.Normalized,
			singleWord: a.SingleWord, lstrip: a.Lstrip, rstrip: a.Rstrip,
		})
	}
	return nil
}
