package cpu

import "testing"

func TestParseLevel(t *testing.T) {
	for _, l := range append(Levels(), Auto) {
		if have, err := ParseLevel(l.String()); err != nil || have != l {
			t.Errorf("%s is read as %s, %v", l, have, err)
		}
	}
	if have, err := ParseLevel(""); err != nil || have != Auto {
		t.Errorf("nothing is read as %s, %v", have, err)
	}
	if _, err := ParseLevel("sse"); err == nil {
		t.Error("an unknown level is taken")
	}
}
