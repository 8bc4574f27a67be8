package backends

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	for _, b := range Table() {
		d, err := Open(b.Name, 0, Options{Threads: 1})
		switch {
		case b.Missing != "":
			if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), b.Missing) {
				t.Errorf("%s: %v", b.Name, err)
			}
		case b.Name == "cpu" || b.Name == "ref": // every machine has them
			if err != nil {
				t.Fatal(err)
			}
			if d.Info().Backend != b.Name {
				t.Errorf("%s opened %s", b.Name, d.Info().Backend)
			}
			if infos, err := b.Devices(); err != nil || len(infos) != 1 || infos[0].Backend != b.Name {
				t.Errorf("%s has the devices %+v, %v", b.Name, infos, err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if _, err := Open(b.Name, 1, Options{}); err == nil || !strings.Contains(err.Error(), "device 1") {
				t.Errorf("%s 1: %v", b.Name, err)
			}
		case err == nil:
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestOpenAuto(t *testing.T) {
	var log bytes.Buffer
	d, err := Open("auto", 0, Options{Threads: 1, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Info().Backend == "ref" || strings.Count(log.String(), "backend chosen") != 1 {
		t.Errorf("%s was chosen; log:\n%s", d.Info().Backend, log.String())
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		id   int
		says string
	}{{"tpu", 0, "auto, cuda, vulkan, cpu, ref"}, {"auto", -1, "device -1"}, {"cpu", -1, "device -1"}, {"auto", 1000, "no usable device 1000"}} {
		if _, err := Open(c.name, c.id, Options{}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %d: %v", c.name, c.id, err)
		}
	}
}
