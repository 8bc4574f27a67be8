package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/klauspost/cpuid/v2"

	"github.com/ullm/ullm/bench/engines"
)

// measurement is one run of an engine.
type measurement struct {
	Test    string          `json:"test"` // what was measured and how: others are not comparable
	Format  string          `json:"format"`
	Engine  string          `json:"engine"`
	Part    string          `json:"part"` // prefill or decode
	Round   int             `json:"round"`
	Figures engines.Figures `json:"figures"`
}

// resultLog keeps measurements in a file, one a line; without a name it keeps none.
type resultLog struct {
	test string
	list []measurement
	file *os.File
}

func openLog(path, test string) (*resultLog, error) {
	l := &resultLog{test: test}
	if path == "" {
		return l, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var m measurement
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w; remove the line, or the file", path, err)
		}
		l.list = append(l.list, m)
	}
	l.file = f
	return l, nil
}

// find is what was measured before, nil where it was not.
func (l *resultLog) find(m measurement) engines.Figures {
	for _, have := range l.list {
		if have.Test == l.test && have.Format == m.Format && have.Engine == m.Engine && have.Part == m.Part && have.Round == m.Round {
			return have.Figures
		}
	}
	return nil
}

func (l *resultLog) add(m measurement) error {
	if l.file == nil {
		return nil
	}
	m.Test = l.test
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = l.file.Write(append(b, '\n'))
	return err
}

func (l *resultLog) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// processor is its name, as far as it tells.
func processor() string {
	if name := cpuid.CPU.BrandName; name != "" {
		return name
	}
	return "unknown processor"
}
