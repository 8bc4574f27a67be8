package tokenizer

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// TestUnicodeTable checks unicode.bin against Go's tables, which are older: whatever
// is a letter, number or space there is one here.
func TestUnicodeTable(t *testing.T) {
	if len(unicodeTable)%128 != 0 || len(unicodeTable) < blockNumber+128*200 {
		t.Fatalf("unicode.bin has %d bytes", len(unicodeTable))
	}
	more := map[class]int{}
	for r := rune(0); r <= utf8.MaxRune; r++ {
		k := classOf(r)
		for _, c := range []struct {
			bit class
			is  bool
		}{{letter, unicode.IsLetter(r)}, {number, unicode.IsNumber(r)}, {space, unicode.Is(unicode.White_Space, r)}} {
			switch {
			case c.is && k&c.bit == 0:
				t.Errorf("%U lacks bit %d", r, c.bit)
			case !c.is && k&c.bit != 0:
				more[c.bit]++
			}
		}
		if both := k & (letter | number | space); both&(both-1) != 0 {
			t.Errorf("%U is of two kinds: %b", r, k)
		}
	}
	// with Go's Unicode 15 it is 4,924 letters and 80 numbers of Unicode 16
	if more[letter] > 4924 || more[number] > 80 || more[space] > 0 {
		t.Errorf("too many: %v", more)
	}
}

// TestNormalizationData notices a change of what x/text says of the code points that we
// ask it about. It should never happen: their properties are frozen.
func TestNormalizationData(t *testing.T) {
	h := sha256.New()
	for r := rune(0); r <= utf8.MaxRune; r++ {
		k := classOf(r)
		if k&mark != 0 {
			fmt.Fprintln(h, r, norm.NFD.PropertiesString(string(r)).CCC())
		}
		if k&decomposes != 0 {
			fmt.Fprintln(h, r, norm.NFD.String(string(r)), norm.NFC.String(string(r)))
		}
	}
	const want = "c7cb7bfa6ef7cc04cbdbbb409158ccad470c317c56fe75d5d25ffaaefbb2ef5c"
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != want {
		t.Errorf("properties changed: %s", got)
	}
}

// TestNFC checks cases where other tables, or limits on the number of marks, would give
// something else, and that normalizing twice changes nothing.
func TestNFC(t *testing.T) {
	for in, want := range map[string]string{
		"e\u0301":                   "é",
		"a\u0323\u0301":             "ạ\u0301",
		"a\u0301\u0323":             "ạ\u0301",
		"\u1100\u1161\u11a8":        "각",
		"\u0344":                    "\u0308\u0301",
		"\u212b":                    "Å",
		"\U00011935\U00011930":      "\U00011935\U00011930", // composes since Unicode 13
		"\U00011938\u0334":          "\U00011938\u0334",
		"a\u1ac5\u0323":             "a\u1ac5\u0323", // a mark since Unicode 14
		"\u0915\u093c":              "\u0915\u093c",  // excluded from composition
		"\u0958":                    "\u0915\u093c",
		"x\u0301\u0301\u0301\u0323": "x\u0323\u0301\u0301\u0301",
		"\u0f71\u0f72\u0f74":        "\u0f71\u0f72\u0f74",
		"ab\u0301c\u0327\u0301":     "ab\u0301ḉ",
		"<\u0338":                   "≮",
		"\u0301":                    "\u0301",
		"日本\u3099":                  "日本\u3099",
		"\u304b\u3099\u304b\u3099":  "がが",
		"\u0041\u030a\u0301\u030a":  "Ǻ\u030a",
		"\u09c7\u0301\u09be":        "\u09c7\u0301\u09be", // blocked
	} {
		if got := nfc(in); got != want {
			t.Errorf("%+q: %+q, want %+q", in, got, want)
		}
	}
	long := "a"
	for range 100 {
		long += "\u0301"
	}
	if got := nfc(long); got != "á"+long[3:] {
		t.Errorf("100 marks: %+q", got)
	}
	for _, g := range goldens(t) {
		if once := nfc(g.Text); nfc(once) != once {
			t.Errorf("%+q changes twice", g.Text)
		}
	}
}
