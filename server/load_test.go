package server_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/server"
	"github.com/ullm/ullm/tensor"
)

var loadTime = flag.Duration("load", 0, "how long TestLoad goes on, when its few requests are done")

const (
	loadClients   = 64
	loadRequests  = 4 // of each client, at least
	loadQuestions = 48
	loadPatience  = 5 * time.Minute // of a client, on the slowest machine: an answer that comes later is stuck
)

// question is a request, and what must be answered to it whoever else asks.
type question struct {
	path   string
	fields map[string]any
	want   []reply
}

// body is the request; a question may be streamed or not.
func (q *question) body(t testing.TB, stream bool) string {
	fields := map[string]any{"stream": stream}
	for k, v := range q.fields {
		fields[k] = v
	}
	return marshal(t, fields)
}

// reply is one choice of an answer, put together.
type reply struct {
	IDs             []int32
	Text, Reasoning string
	Finish          string
	Stop            any
	Logprobs        []float64
}

// chunk is an answer of either endpoint, or one event of it.
type chunk struct {
	Choices []struct {
		Index          int
		Text           string
		Message, Delta struct {
			Content   string
			Reasoning string `json:"reasoning_content"`
		}
		Finish   string  `json:"finish_reason"`
		Stop     any     `json:"stop_reason"`
		IDs      []int32 `json:"token_ids"`
		Logprobs struct {
			Tokens  []float64 `json:"token_logprobs"`
			Content []chatLogprob
		}
	}
	Error any
}

// join puts the events of an answer together; an answer that is not streamed is one event.
func join(t testing.TB, events []string) (all []reply) {
	for _, e := range events {
		c := decode[chunk](t, []byte(e))
		if c.Error != nil {
			t.Errorf("the answer ends with %s", e)
		}
		for _, p := range c.Choices {
			for len(all) <= p.Index {
				all = append(all, reply{})
			}
			r := &all[p.Index]
			if r.Finish != "" {
				t.Errorf("choice %d goes on after its end: %s", p.Index, e)
			}
			r.IDs = append(r.IDs, p.IDs...)
			r.Text += p.Text + p.Message.Content + p.Delta.Content
			r.Reasoning += p.Message.Reasoning + p.Delta.Reasoning
			r.Finish, r.Stop = p.Finish, p.Stop
			r.Logprobs = append(r.Logprobs, p.Logprobs.Tokens...)
			for _, l := range p.Logprobs.Content {
				r.Logprobs = append(r.Logprobs, l.Logprob)
			}
		}
	}
	return all
}

// questions are of all kinds, from a seed.
func questions(r *rand.Rand) (all []*question) {
	texts := []string{"The quick brown fox", "Once upon a time there was a sma", "One, two, three, four, five", "def add(a,", "Zwölf Boxkämpfer jagen", "いろはにほへ"}
	one := func(chance float64) bool { return r.Float64() < chance }
	for i := range loadQuestions {
		f := map[string]any{"seed": i, "max_tokens": 1 + r.IntN(70), "temperature": []float64{0, 1, 8, 30}[r.IntN(4)], "return_token_ids": true}
		q := &question{"/v1/completions", f, nil}
		text := texts[r.IntN(len(texts))]
		if one(0.5) {
			text = strings.Repeat(text+" ", 1+r.IntN(6))
		}
		if one(0.4) {
			q.path = "/v1/chat/completions"
			f["messages"] = []map[string]string{{"role": "user", "content": text}}
			if one(0.4) {
				f["logprobs"], f["top_logprobs"] = true, r.IntN(5)
			}
		} else {
			f["prompt"] = text
			if one(0.2) {
				f["prompt"] = []string{text, text + "!"}
			}
			if one(0.3) {
				f["logprobs"] = r.IntN(5)
			}
			if one(0.2) {
				f["echo"] = true
			}
		}
		if one(0.3) {
			f["n"] = 2 + r.IntN(3)
		}
		if one(0.3) {
			f["stop"] = []string{"o", "e th", " quick", "。"}[:1+r.IntN(4)]
		}
		if one(0.4) {
			f["ignore_eos"] = true
		}
		if one(0.2) {
			f["min_tokens"] = 1
		}
		if one(0.3) {
			f["repetition_penalty"], f["presence_penalty"], f["frequency_penalty"] = 1.2, 0.3, -0.2
		}
		if one(0.2) {
			f["top_k"], f["top_p"], f["min_p"] = 20, 0.9, 0.001
		}
		all = append(all, q)
	}
	return all
}

// crowd is what many clients at once have seen.
type crowd struct {
	t         testing.TB
	address   string
	questions []*question

	answers, choices, tokens, refused, aborted atomic.Int64
}

// client asks one question after the other.
type client struct {
	*crowd
	random *rand.Rand
	http   *http.Client
}

// ask asks one question, in one of the ways that clients have.
func (c *client) ask() {
	q := c.questions[c.random.IntN(len(c.questions))]
	stream := c.random.IntN(3) > 0
	body := q.body(c.t, stream)
	raw := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", q.path, len(body), body)
	switch c.random.IntN(10) {
	case 0: // goes away in the middle of the answer
		conn := c.dial(raw)
		_, _ = io.CopyN(io.Discard, conn, int64(c.random.IntN(3000)))
		conn.Close()
		c.aborted.Add(1)
	case 1: // reads nothing
		c.dial(raw).Close()
		c.aborted.Add(1)
	case 2: // sends half a request
		conn := c.dial(raw[:c.random.IntN(len(raw))])
		if c.random.IntN(2) == 0 { // and waits for what the server says to that
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
		}
		conn.Close()
		c.aborted.Add(1)
	case 3: // reads in small bits
		for {
			conn := c.dial(raw)
			_ = conn.(*net.TCPConn).SetReadBuffer(1 << 10)
			resp, err := http.ReadResponse(bufio.NewReaderSize(dribble{conn}, 16), nil)
			again := c.read(q, stream, resp, err)
			conn.Close()
			if !again {
				return
			}
		}
	default:
		for {
			resp, err := c.http.Post("http://"+c.address+q.path, "application/json", strings.NewReader(body))
			if !c.read(q, stream, resp, err) {
				return
			}
		}
	}
}

// dial connects and sends.
func (c *client) dial(request string) net.Conn {
	conn, err := net.Dial("tcp", c.address)
	if err != nil {
		c.t.Error(err)
		return closedConn()
	}
	_ = conn.SetDeadline(time.Now().Add(loadPatience))
	if _, err := io.WriteString(conn, request); err != nil {
		c.t.Error(err)
	}
	return conn
}

// closedConn stands for a connection that could not be made.
func closedConn() net.Conn {
	conn, _ := net.Pipe()
	conn.Close()
	return conn
}

// dribble reads a few bytes at a time.
type dribble struct{ io.Reader }

func (d dribble) Read(b []byte) (int, error) {
	time.Sleep(50 * time.Microsecond)
	return d.Reader.Read(b[:min(len(b), 200)])
}

// read reads an answer and compares it. It answers true where the client is to come again because the queue is full.
func (c *client) read(q *question, stream bool, resp *http.Response, err error) (again bool) {
	if err != nil {
		c.t.Errorf("%s: %v", q.path, err)
		return false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		c.t.Errorf("%s: the answer breaks off: %v", q.path, err)
		return false
	case resp.StatusCode == http.StatusTooManyRequests:
		wantError(c.t, resp, b, resp.StatusCode, "")
		c.refused.Add(1)
		time.Sleep(time.Duration(c.random.IntN(20)) * time.Millisecond)
		return true
	case resp.StatusCode != http.StatusOK:
		c.t.Errorf("%s: %s %s", q.path, resp.Status, b)
		return false
	}
	events := []string{string(b)}
	if stream {
		events = sse(c.t, bytes.NewReader(b))
		last := len(events) - 1
		if last < 0 || events[last] != "[DONE]" {
			c.t.Errorf("the stream ends with %q", events)
			return false
		}
		events = events[:last]
	}
	got := join(c.t, events)
	if !reflect.DeepEqual(got, q.want) {
		c.t.Errorf("%s in company: %+v\nalone: %+v", q.body(c.t, stream), got, q.want)
	}
	c.answers.Add(1)
	c.choices.Add(int64(len(got)))
	for _, r := range got {
		c.tokens.Add(int64(len(r.IDs)))
	}
	return false
}

// TestLoad lets 64 clients ask at once, on a memory so short that sequences are preempted and with a queue so short that
// many are sent away. Some clients leave early, read slowly or send half of a request. All others get the answers that
// they would get alone, nothing is held in the end, and nothing stays behind after the shutdown.
func TestLoad(t *testing.T) {
	const seed = 1
	all := questions(rand.New(rand.NewPCG(seed, 0)))
	t.Run("alone", func(t *testing.T) {
		f := serve(t, "talk", ullm.Options{NoPrefixCache: true, NoAsync: true, ContextLen: 256})
		for _, q := range all {
			resp, b := f.do("POST", q.path, q.body(t, false))
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("%v: %s %s", q.fields, resp.Status, b)
			}
			q.want = join(t, []string{string(b)})
		}
	})
	if t.Failed() {
		return
	}

	before := goleak.IgnoreCurrent()
	e := openEngine(t, "talk", ullm.Options{ContextLen: 256, KVCacheTokens: 1024, MaxBatchSeqs: 24, MaxBatchTokens: 64, MaxQueue: 24})
	f := &fixture{t: t, engine: e, server: server.New(e)}
	h := httptest.NewServer(f.server)
	f.url = h.URL
	c := &crowd{t: t, address: strings.TrimPrefix(h.URL, "http://"), questions: all}
	var clients sync.WaitGroup
	begun := time.Now()
	for id := range loadClients {
		clients.Go(func() {
			one := &client{c, rand.New(rand.NewPCG(seed, uint64(1+id))), &http.Client{Transport: &http.Transport{}, Timeout: loadPatience}}
			defer one.http.CloseIdleConnections()
			for n := 0; (n < loadRequests || time.Since(begun) < *loadTime) && !t.Failed(); n++ {
				one.ask()
			}
		})
	}
	clients.Wait()

	f.idle()
	if err := f.server.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	c.agrees(f)
	s := e.Stats()
	t.Logf("%d clients, %.0f s: %d right answers with %d choices and %d tokens, %d left early, %d times the queue was full, %d preemptions, %d of %d prompt tokens cached",
		loadClients, time.Since(begun).Seconds(), c.answers.Load(), c.choices.Load(), c.tokens.Load(), c.aborted.Load(), c.refused.Load(), s.Preemptions, s.CachedTokens, s.PromptTokens)
	if s.Preemptions == 0 || c.refused.Load() == 0 || c.aborted.Load() == 0 || s.CachedTokens == 0 {
		t.Error("the load is too light to show anything")
	}

	h.Close()
	http.DefaultClient.CloseIdleConnections()
	if err := e.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if r := e.Freed(); r.Leaked != (tensor.Count{}) || r.Freed == (tensor.Count{}) || e.Memory().Total() != (tensor.Count{}) {
		t.Errorf("freed %+v, leaked %+v, %+v still held", r.Freed, r.Leaked, e.Memory().Total())
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// agrees compares the metrics with what the clients have counted.
func (c *crowd) agrees(f *fixture) {
	f.t.Helper()
	_, text := f.do("GET", "/metrics", "")
	m := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			m[name] = v
		}
	}
	for _, name := range []string{"ullm_requests_running", "ullm_requests_waiting", "ullm_kv_cache_usage_ratio", `ullm_requests_finished_total{reason="error"}`} {
		if m[name] != 0 {
			f.t.Errorf("%s is %g", name, m[name])
		}
	}
	s := f.engine.Stats()
	whole := m[`ullm_requests_finished_total{reason="stop"}`] + m[`ullm_requests_finished_total{reason="length"}`]
	ended := whole + m[`ullm_requests_finished_total{reason="abort"}`]
	first, more := m["ullm_time_to_first_token_seconds_count"], m["ullm_inter_token_seconds_count"]
	for what, ok := range map[string]bool{
		"every answer that was read has finished":              whole >= float64(c.choices.Load()),
		"every answer that has begun has ended":                ended >= first,
		"every token that was read was timed":                  first+more >= float64(c.tokens.Load()),
		"every token that was timed was generated":             first+more <= float64(s.GeneratedTokens),
		"ullm_generated_tokens_total is the scheduler's count": m["ullm_generated_tokens_total"] == float64(s.GeneratedTokens),
		"ullm_preemptions_total is the scheduler's count":      m["ullm_preemptions_total"] == float64(s.Preemptions),
	} {
		if !ok {
			f.t.Errorf("not so: %s\n%s", what, text)
		}
	}
}
