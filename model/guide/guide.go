// Package guide holds the embedded demo model: a Qwen3-architecture model of
// 2.8 million parameters that answers questions about ullm. The scripts that
// trained it stand in train.
package guide

import _ "embed"

//go:embed guide.gguf
var gguf []byte

//go:embed questions.json
var questions []byte

//go:embed examples.json
var examples []byte

// GGUF returns the model as a GGUF file in Q8_0, with its tokenizer and chat
// template. The caller must not write to the bytes.
func GGUF() []byte { return gguf }

// Questions returns the held-out test questions as a JSON list of objects
// {"topic", "question" or "messages", "system", "thinking", "match"}: an answer
// is right when each regular expression of match, which RE2 and Python both
// read, is found in it. The share of right greedy answers is the model's grade.
func Questions() []byte { return questions }

// Examples returns, in the same form, the README's examples; the model has to
// answer all of them.
func Examples() []byte { return examples }
