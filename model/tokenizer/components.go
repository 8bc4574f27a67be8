package tokenizer

import (
	"encoding/json"
	"fmt"
)

// componentJSON is a normalizer, pre-tokenizer, post-processor or decoder; which fields
// it has depends on its type.
type componentJSON struct {
	Type string `json:"type"`

	Normalizers   []componentJSON `json:"normalizers"`   // Sequence of normalizers
	Pretokenizers []componentJSON `json:"pretokenizers"` // of pre-tokenizers
	Processors    []componentJSON `json:"processors"`    // of post-processors
	Decoders      []componentJSON `json:"decoders"`      // of decoders

	Pattern  patternJSON `json:"pattern"` // Split
	Behavior string      `json:"behavior"`
	Invert   bool        `json:"invert"`

	AddPrefixSpace bool  `json:"add_prefix_space"` // ByteLevel
	UseRegex       *bool `json:"use_regex"`        // nil is true

	Single        []templateJSON `json:"single"` // TemplateProcessing
	SpecialTokens map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens"`
}

type patternJSON struct {
	Regex  *string
	String *string
}

// templateJSON is one part of a template: a special token or the text.
type templateJSON struct {
	SpecialToken *struct {
		ID string `json:"id"`
	}
	Sequence *struct {
		ID string `json:"id"`
	}
}

// normalizer reports whether text is normalized to NFC.
func (c *componentJSON) normalizer() (bool, error) {
	if c == nil {
		return false, nil
	}
	switch c.Type {
	case "NFC":
		return true, nil
	case "Sequence":
		any := false
		for i := range c.Normalizers {
			one, err := c.Normalizers[i].normalizer()
			if err != nil {
				return false, err
			}
			any = any || one
		}
		return any, nil
	}
	return false, fmt.Errorf("type %q is not supported, only NFC", c.Type)
}

// flatten returns the parts of a Sequence, or c itself.
func (c *componentJSON) flatten(parts func(*componentJSON) []componentJSON) []*componentJSON {
	switch {
	case c == nil:
		return nil
	case c.Type != "Sequence":
		return []*componentJSON{c}
	}
	var all []*componentJSON
	list := parts(c)
	for i := range list {
		all = append(all, list[i].flatten(parts)...)
	}
	return all
}

// setPreTokenizer sets the splitters: any number of Split, then one ByteLevel.
func (m *model) setPreTokenizer(c *componentJSON) error {
	parts := c.flatten(func(c *componentJSON) []componentJSON { return c.Pretokenizers })
	for i, p := range parts {
		last := i == len(parts)-1
		switch {
		case p.Type == "ByteLevel" && last:
			if p.AddPrefixSpace {
				m.splitters = append(m.splitters, prefixSpace{})
			}
			if p.UseRegex == nil || *p.UseRegex {
				s, err := newSplitter(gpt2Pattern)
				if err != nil {
					return err
				}
				m.splitters = append(m.splitters, s)
			}
			return nil
		case p.Type == "Split" && p.Pattern.Regex != nil && p.Behavior == "Isolated" && !p.Invert:
			s, err := newSplitter(*p.Pattern.Regex)
			if err != nil {
				return err
			}
			m.splitters = append(m.splitters, s)
		case p.Type == "Split" && p.Pattern.Regex != nil:
			return fmt.Errorf("type Split: behavior %q with invert %v is not supported, only Isolated without", p.Behavior, p.Invert)
		case p.Type == "Split":
			return fmt.Errorf("type Split: only a pattern of kind Regex is supported")
		case p.Type == "ByteLevel":
			return fmt.Errorf("type ByteLevel is supported only as the last of a Sequence")
		default:
			return fmt.Errorf("type %q is not supported, only Split and ByteLevel", p.Type)
		}
	}
	return fmt.Errorf("ByteLevel is missing: only byte-level models are supported")
}

// setPostProcessor sets the tokens that stand around a text.
func (m *model) setPostProcessor(c *componentJSON) error {
	for _, p := range c.flatten(func(c *componentJSON) []componentJSON { return c.Processors }) {
		switch p.Type {
		case "ByteLevel": // concerns offsets only
		case "TemplateProcessing":
			before, after, err := p.template(len(m.tokens))
			if err != nil {
				return fmt.Errorf("type TemplateProcessing: %w", err)
			}
			m.prefix = append(before, m.prefix...)
			m.suffix = append(m.suffix, after...)
		default:
			return fmt.Errorf("type %q is not supported, only ByteLevel and TemplateProcessing", p.Type)
		}
	}
	return nil
}

// template returns the special tokens before and after the text.
func (c *componentJSON) template(size int) (before, after []int32, err error) {
	texts := 0
	for _, part := range c.Single {
		switch {
		case part.Sequence != nil && part.Sequence.ID == "A":
			texts++
		case part.SpecialToken != nil:
			special, ok := c.SpecialTokens[part.SpecialToken.ID]
			if !ok {
				return nil, nil, fmt.Errorf("special token %q is not defined", part.SpecialToken.ID)
			}
			for _, id := range special.IDs {
				if id < 0 || int(id) >= size {
					return nil, nil, fmt.Errorf("special token %q has id %d, which does not exist", part.SpecialToken.ID, id)
				}
			}
			if texts == 0 {
				before = append(before, special.IDs...)
			} else {
				after = append(after, special.IDs...)
			}
		default:
			return nil, nil, fmt.Errorf("a part is neither a special token nor sequence A")
		}
	}
	if texts != 1 {
		return nil, nil, fmt.Errorf("the text comes %d times", texts)
	}
	return before, after, nil
}

// checkDecoder refuses decoders but ByteLevel.
func (c *componentJSON) checkDecoder() error {
	parts := c.flatten(func(c *componentJSON) []componentJSON { return c.Decoders })
	if len(parts) != 1 || parts[0].Type != "ByteLevel" {
		return fmt.Errorf("only ByteLevel is supported")
	}
	return nil
}

// The pattern of a Split is {"Regex": "…"} or {"String": "…"}; encoding/json would take
// other spellings too, and both at once.
func (p *patternJSON) UnmarshalJSON(b []byte) error {
	var fields map[string]string
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	if s, ok := fields["Regex"]; ok && len(fields) == 1 {
		p.Regex = &s
	}
	return nil
}
