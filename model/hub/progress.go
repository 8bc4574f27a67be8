package hub

import "sync"

// meter adds up the progress of parallel downloads and reports it.
type meter struct {
	report func(Event)

	mu    sync.Mutex
	files map[string]Event // the last of each file that is to be fetched
	all   Event
}

// add makes a file known, with what an earlier download has left of it.
func (m *meter) add(name string, done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files == nil {
		m.files = map[string]Event{}
	}
	m.files[name] = Event{File: name, Done: done, Total: total}
	m.all.AllDone += done
	m.all.AllTotal += total
}

// set reports that a file, made known before, has come to done bytes; fewer
// than before if it starts over.
func (m *meter) set(name string, done int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[name]
	if !ok {
		return
	}
	m.all.AllDone += done - f.Done
	f.Done = done
	m.files[name] = f
	if m.report != nil {
		f.AllDone, f.AllTotal = m.all.AllDone, m.all.AllTotal
		m.report(f)
	}
}
