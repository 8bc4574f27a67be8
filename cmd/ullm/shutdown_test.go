//go:build unix

package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var freedLine = regexp.MustCompile(`freed [1-9][0-9]* bytes in [1-9][0-9]* buffers, 0 leaked$`)

// stages are what the log shows of an orderly end.
var stages = []string{"stage=requests", "stage=connections", "stage=model", "stage=device"}

// stopped waits for the end and checks what every end has in common.
func (d *daemon) stopped(code int) {
	d.t.Helper()
	if got := d.exit(); got != code {
		d.t.Errorf("exit code %d, want %d", got, code)
	}
	lines := strings.Split(strings.TrimSpace(d.log()), "\n")
	if last := lines[len(lines)-1]; !freedLine.MatchString(last) {
		d.t.Errorf("the last line is %q", last)
	}
	at := 0
	for _, line := range lines {
		if at < len(stages) && strings.Contains(line, stages[at]) && strings.Contains(line, "seconds=") {
			at++
		}
	}
	if at < len(stages) {
		d.t.Errorf("the log has no %s, or not in its place", stages[at])
	}
}

// stream begins an answer and returns when its first event is there.
func (d *daemon) stream(tokens int) *answer {
	d.t.Helper()
	a := &answer{t: d.t, resp: d.post("/v1/completions", fmt.Sprintf(`{"prompt":"Once upon a time","ignore_eos":true,"max_tokens":%d,"stream":true}`, tokens))}
	if a.resp.StatusCode != http.StatusOK {
		d.t.Fatal(a.resp.Status)
	}
	a.events = bufio.NewScanner(a.resp.Body)
	if !a.next() {
		d.t.Fatal("the stream ended at once")
	}
	return a
}

// answer is a stream that is read.
type answer struct {
	t      *testing.T
	resp   *http.Response
	events *bufio.Scanner
	last   string
	n      int
}

func (a *answer) next() bool {
	for a.events.Scan() {
		if data, ok := strings.CutPrefix(a.events.Text(), "data: "); ok {
			a.last = data
			a.n++
			return true
		}
	}
	return false
}

// end reads to the end, which must be a clean one, and returns the last event before [DONE].
func (a *answer) end() (last string) {
	a.t.Helper()
	defer a.resp.Body.Close()
	for before := a.last; a.next(); before = a.last {
		last = before
	}
	if err := a.events.Err(); err != nil || a.last != "[DONE]" {
		a.t.Errorf("the stream ended with %v behind %q", err, a.last)
	}
	return last
}

// draining waits until the server has noticed the signal.
func (d *daemon) draining() {
	d.t.Helper()
	for {
		status, body := d.get("/readyz")
		if status == http.StatusServiceUnavailable && strings.Contains(body, "draining") {
			break
		}
		time.Sleep(time.Millisecond)
	}
	resp := d.post("/v1/completions", `{"prompt":"x"}`)
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(b), `"error"`) {
		d.t.Errorf("a new request while draining: %s %s", resp.Status, b)
	}
	if status, _ := d.get("/healthz"); status != http.StatusOK {
		d.t.Errorf("healthz while draining: %d", status)
	}
}

// measures waits until a line is among the metrics.
func (d *daemon) measures(line string) {
	d.t.Helper()
	for {
		if _, metrics := d.get("/metrics"); strings.Contains(metrics, "\n"+line+"\n") {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// longer gives the model a context that no test lives to see the end of.
const longer = `{"rope_type":"linear","factor":64}`

// patient are the parameters of a server whose answers take a while, and which waits for them however slow the machine.
func patient(t *testing.T, more ...string) []string {
	return append([]string{talk(t), "--backend", "ref", "--drain-timeout", "10m"}, more...)
}

func TestShutdown(t *testing.T) {
	for name, f := range map[string]func(*testing.T){
		"nothing running": func(t *testing.T) {
			for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
				d := start(t, nil, talk(t)).ready()
				if status, _ := d.get("/readyz"); status != http.StatusOK { // and an idle connection stays
					t.Errorf("readyz: %d", status)
				}
				silent, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://")) // as browsers make in advance
				if err != nil {
					t.Fatal(err)
				}
				defer silent.Close()
				d.signal(sig)
				d.stopped(0)
			}
		},
		"streams finish": func(t *testing.T) {
			d := start(t, nil, patient(t, "--rope-scaling", longer)...).ready()
			streams := []*answer{d.stream(600), d.stream(500), d.stream(400)}
			held := d.stream(60_000) // keeps the server alive until the test has looked
			d.signal(syscall.SIGTERM)
			d.draining()
			held.resp.Body.Close()
			for i, s := range streams {
				last := s.end()
				if want := 600 - 100*i; s.n != want+1 || !strings.Contains(last, `"finish_reason":"length"`) {
					t.Errorf("stream %d: %d events, the last is %s", i, s.n, last)
				}
			}
			d.stopped(0)
		},
		"streams are cut": func(t *testing.T) {
			d := start(t, nil, patient(t, "--rope-scaling", longer, "--drain-timeout", "50ms")...).ready()
			streams := []*answer{d.stream(60_000), d.stream(60_000)}
			d.signal(os.Interrupt)
			for _, s := range streams {
				var e struct {
					Error struct{ Message, Type string }
				}
				if last := s.end(); json.Unmarshal([]byte(last), &e) != nil || e.Error.Message == "" {
					t.Errorf("the stream ends with %s", last)
				}
			}
			d.stopped(3)
		},
		"queue full": func(t *testing.T) {
			d := start(t, nil, patient(t, "--max-num-seqs", "1", "--max-queue", "1", "--rope-scaling", longer)...).ready()
			running := d.stream(60_000)
			waited := make(chan string, 1)
			go func() {
				resp, err := http.Post(d.url+"/v1/completions", "application/json", strings.NewReader(`{"prompt":"The quick brown fox","ignore_eos":true,"max_tokens":30}`))
				if err != nil {
					waited <- err.Error()
					return
				}
				defer resp.Body.Close()
				b, _ := io.ReadAll(resp.Body)
				waited <- string(b)
			}()
			d.measures("ullm_requests_waiting 1") // that is the one: a probe before it would take its place
			resp := d.post("/v1/completions", `{"prompt":"x","max_tokens":1}`)
			resp.Body.Close()
			if resp.StatusCode != http.StatusTooManyRequests {
				t.Fatalf("a request beyond the queue: %s", resp.Status)
			}
			d.signal(syscall.SIGTERM)
			d.draining()
			running.resp.Body.Close()
			if got := <-waited; !strings.Contains(got, `"completion_tokens":30,`) {
				t.Errorf("the waiting request got %s", got)
			}
			d.stopped(0)
		},
		"half a request": func(t *testing.T) {
			d := start(t, nil, talk(t), "--drain-timeout", "10m").ready()
			conn, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
			if _, err := conn.Read(make([]byte, 12)); err != nil { // the server waits for the body
				t.Fatal(err)
			}
			d.signal(syscall.SIGTERM)
			d.stopped(0)
		},
		"a client reads nothing": func(t *testing.T) {
			d := start(t, nil, talk(t), "--drain-timeout", "50ms").ready()
			conn, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.(*net.TCPConn).SetReadBuffer(1 << 10)
			// Complete, it is more than the connection's buffers take.
			body := `{"prompt":["a","b","c","d"],"ignore_eos":true,"n":4,"stream":true,"logprobs":20,"max_tokens":900}`
			fmt.Fprintf(conn, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			d.measures("ullm_generated_tokens_total 14400")
			d.measures("ullm_requests_running 0")
			d.signal(syscall.SIGTERM)
			d.stopped(3)
			if !strings.Contains(d.log(), "a client did not read its answer") {
				t.Error("the log does not say who was cut off")
			}
		},
		"twice": func(t *testing.T) {
			for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
				d := start(t, nil, patient(t, "--rope-scaling", longer)...).ready()
				s := d.stream(60_000)
				d.signal(sig)
				d.draining()
				d.signal(sig)
				if code := d.exit(); code != 130 {
					t.Errorf("exit code %d", code)
				}
				s.resp.Body.Close()
			}
		},
	} {
		t.Run(name, f)
	}
}

// TestStopWhileLoading interrupts the load of a model that takes some seconds.
func TestStopWhileLoading(t *testing.T) {
	d := start(t, nil, "random:0.6b", "--backend", "cpu", "-c", "256", "--max-num-seqs", "2")
	var p struct {
		Status, Stage string
		Done          int64 `json:"done_bytes"`
		Total         int64 `json:"total_bytes"`
	}
	for p.Done == 0 {
		status, body := d.get("/readyz")
		if err := json.Unmarshal([]byte(body), &p); err != nil || status != http.StatusServiceUnavailable || p.Status != "loading" {
			t.Fatalf("%d %s", status, body)
		}
		time.Sleep(time.Millisecond)
	}
	if p.Stage != "load" || p.Total < p.Done {
		t.Errorf("%+v", p)
	}
	d.signal(os.Interrupt)
	if code := d.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	lines := strings.Split(strings.TrimSpace(d.log()), "\n")
	if last := lines[len(lines)-1]; !freedLine.MatchString(last) || strings.Contains(d.log(), "INF ready") {
		t.Errorf("the last line is %q", last)
	}
}

// TestStopWhileDownloading interrupts a download that has come to a halt.
func TestStopWhileDownloading(t *testing.T) {
	asked := make(chan struct{}, 1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hub := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-r.Context().Done()
	})}
	go hub.Serve(listener)
	defer hub.Close()
	d := start(t, []string{"HF_ENDPOINT=http://" + listener.Addr().String()}, "some/model")
	<-asked
	d.signal(syscall.SIGTERM)
	if code := d.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
