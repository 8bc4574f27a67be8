package guide

import (
	"encoding/json"
	"regexp"
	"testing"
)

// The binary carries the model, so its size is bounded.
const maxBytes = 8 << 20

func TestGGUF(t *testing.T) {
	if n := len(GGUF()); n > maxBytes {
		t.Errorf("guide.gguf has %d bytes, more than %d", n, maxBytes)
	}
	if string(GGUF()[:4]) != "GGUF" {
		t.Errorf("guide.gguf begins with %q", GGUF()[:4])
	}
}

// TestQuestions checks that the question files can be used: fields, turns and
// regular expressions that Go reads.
func TestQuestions(t *testing.T) {
	for name, file := range map[string]struct {
		data  []byte
		least int
	}{"questions.json": {Questions(), 120}, "examples.json": {Examples(), 10}} {
		var questions []struct {
			Topic, Question, System string
			Thinking                bool
			Messages                []struct{ Role, Content string }
			Match                   []string
		}
		if err := json.Unmarshal(file.data, &questions); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(questions) < file.least {
			t.Errorf("%s has %d questions, fewer than %d", name, len(questions), file.least)
		}
		for i, q := range questions {
			if q.Topic == "" || len(q.Match) == 0 || (q.Question == "") == (len(q.Messages) == 0) {
				t.Errorf("%s: entry %d needs a topic, a match, and either a question or messages", name, i)
			}
			if n := len(q.Messages); n > 0 && q.Messages[n-1].Role != "user" {
				t.Errorf("%s: entry %d does not end with the user's turn", name, i)
			}
			for _, m := range q.Match {
				if _, err := regexp.Compile(m); err != nil {
					t.Errorf("%s: entry %d: %v", name, i, err)
				}
			}
		}
	}
}
