package tensor_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/ullm/ullm/tensor"
)

func TestLedger(t *testing.T) {
	var l tensor.Ledger
	if s := l.Stats().String(); s != "nothing" {
		t.Errorf("an empty ledger holds %q", s)
	}
	l.Alloc(tensor.UseWeights, 100)
	l.Alloc(tensor.UseWeights, 50)
	l.Alloc(tensor.UseKV, 7)
	l.Free(tensor.UseWeights, 100)
	l.Alloc(tensor.UseWeights, 20)
	s := l.Stats()
	if have, want := s.Live[tensor.UseWeights], (tensor.Count{Bytes: 70, Handles: 2}); have != want {
		t.Errorf("live weights %+v, want %+v", have, want)
	}
	if have, want := s.Peak[tensor.UseWeights], (tensor.Count{Bytes: 150, Handles: 2}); have != want {
		t.Errorf("peak weights %+v, want %+v", have, want)
	}
	if have, want := s.Total(), (tensor.Count{Bytes: 77, Handles: 3}); have != want {
		t.Errorf("in all %+v, want %+v", have, want)
	}
	if have, want := s.Freed, (tensor.Count{Bytes: 100, Handles: 1}); have != want {
		t.Errorf("freed %+v, want %+v", have, want)
	}
	for _, part := range []string{"weights 70 bytes in 2", "kv 7 bytes in 1"} {
		if !strings.Contains(s.String(), part) {
			t.Errorf("%q should say %q", s, part)
		}
	}
	l.SetLost()
	if !l.Stats().Lost || s.Lost {
		t.Error("SetLost marks the ledger, and no copy of it")
	}
	defer func() {
		if recover() == nil {
			t.Error("freeing more than is held should panic")
		}
	}()
	l.Free(tensor.UseKV, 8)
}

func TestLedgerIsConcurrent(t *testing.T) {
	var l tensor.Ledger
	var group sync.WaitGroup
	for use := range tensor.NumUses {
		group.Go(func() {
			for range 1000 {
				l.Alloc(use, 3)
				l.Stats()
				l.Free(use, 3)
			}
		})
	}
	group.Wait()
	if n := l.Stats().Total(); n != (tensor.Count{}) {
		t.Errorf("%+v left", n)
	}
	if f := l.Stats().Freed; f.Handles != 1000*int(tensor.NumUses) {
		t.Errorf("%d freed", f.Handles)
	}
}
