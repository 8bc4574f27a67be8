package tokenizer

import (
	"strings"
	"testing"
)

func BenchmarkFromJSON(b *testing.B) {
	data := readFile(b, qwen3Path(b))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := FromJSON(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFromGGUF(b *testing.B) {
	v := vocabOf(b, readFile(b, qwen3Path(b)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := FromGGUF(v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	tok := fromFile(b, qwen3Path(b))
	mixed := string(readFile(b, "testdata/golden.py"))
	for name, text := range map[string]string{
		"english":   strings.Repeat("The quick brown fox jumps over the lazy dog, and nobody's tokenizer minds it.\n", 1000),
		"mixed":     strings.Repeat(mixed, 8),
		"one word":  strings.Repeat("a", 1<<20),
		"one space": strings.Repeat(" ", 1<<20),
		"marks":     strings.Repeat("a\u0301\u0323", 20000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				tok.Encode(text, true)
			}
		})
	}
	b.Run("refused", func(b *testing.B) {
		text := strings.Repeat("hello world ", 1<<17)
		for b.Loop() {
			tok.EncodeLimited(text, true, 4096)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	tok := fromFile(b, qwen3Path(b))
	ids := tok.Encode(string(readFile(b, "testdata/golden.py")), false)
	b.Run("whole", func(b *testing.B) {
		for b.Loop() {
			tok.Decode(ids, true)
		}
	})
	b.Run("one by one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d := tok.NewDecoder(true)
			for _, id := range ids {
				d.Push(id)
			}
			d.Flush()
		}
	})
}
