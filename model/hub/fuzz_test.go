package hub

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"Qwen/Qwen3-0.6B", "a/b@refs/pr/1", "a/b:Q8_0", "a/b@v1:q4_k", "../x", "a/b@../../x", "C:/x", "a/\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			return
		}
		if again, err := ParseRef(r.String()); err != nil || again != r {
			t.Errorf("%q is %+v, which reads as %+v, %v", s, r, again, err)
		}
		c := newCache("root", r.Repo)
		for _, p := range []string{c.dir, c.ref(r.revision())} {
			if !filepath.IsLocal(p) || !strings.HasPrefix(p, "root") {
				t.Errorf("%q leads to %s", s, p)
			}
		}
		if filepath.Dir(c.dir) != "root" || !strings.HasPrefix(c.ref(r.revision()), filepath.Join(c.dir, "refs")+string(filepath.Separator)) {
			t.Errorf("%q leads to %s", s, c.ref(r.revision()))
		}
	})
}

// FuzzListing takes a listing through all that decides about files to fetch.
func FuzzListing(f *testing.F) {
	const sha = `"sha":"0123456789012345678901234567890123456789"`
	for _, s := range []string{
		`{` + sha + `,"siblings":[{"rfilename":"config.json"},{"rfilename":"model.safetensors"}]}`,
		`{` + sha + `,"siblings":[{"rfilename":"a-Q8_0.gguf"},{"rfilename":"b/a-q4_k_m-00001-of-00002.gguf"}]}`,
		`{` + sha + `,"siblings":[{"rfilename":"../x.gguf"}]}`,
		`{"sha":"../..","siblings":null}`, `[]`, `{` + sha + `,"siblings":[null,{}]}`,
	} {
		f.Add([]byte(s), "Q8_0")
		f.Add([]byte(s), "")
	}
	f.Fuzz(func(t *testing.T, b []byte, quant string) {
		l, err := parseListing(b)
		if err != nil {
			return
		}
		ref := Ref{Repo: "o/m", Quant: quant}
		if ref.check() != nil {
			return
		}
		sel, err := selectFiles(ref, l.names)
		if err != nil {
			return
		}
		for _, n := range append(append(sel.small, sel.weights...), sel.gguf) {
			p := newCache("root", "o/m").pointer(l.commit, n)
			if n != "" && !strings.HasPrefix(p, filepath.Join("root", "models--o--m", "snapshots", l.commit)+string(filepath.Separator)) {
				t.Errorf("%q leads to %s", n, p)
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":1},"weight_map":{"a":"model-00001-of-00002.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		shards, err := parseIndex(b)
		if (err == nil) != (len(shards) > 0) {
			t.Errorf("%d shards, %v", len(shards), err)
		}
		for _, s := range shards {
			if !filepath.IsLocal(s) {
				t.Errorf("%q is not local", s)
			}
		}
	})
}

func FuzzTree(f *testing.F) {
	f.Add([]byte(`{"format_version":1,"files":{"config.json":{"size":5,"blob_id":"x"}}}`))
	f.Add([]byte(`{"format_version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if names, ok := parseTree(b); ok != (len(names) > 0) {
			t.Errorf("%d names, %v", len(names), ok)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("0123", `"abc"`, "5", "17", "120", `"api";r=0;t=5`)
	f.Add("", `W/"../x"`, "-1", "99999999999999999999", "Wed, 21 Oct 2015 07:28:00 GMT", "")
	f.Fuzz(func(t *testing.T, commit, etag, linked, length, after, limit string) {
		h := http.Header{}
		for k, v := range map[string]string{"X-Repo-Commit": commit, "X-Linked-Etag": etag, "ETag": etag, "X-Linked-Size": linked,
			"Content-Length": length, "Retry-After": after, "RateLimit": limit} {
			h.Set(k, v)
		}
		if d := retryAfter(h, time.Unix(1445412480, 0)); d < 0 {
			t.Errorf("wait %v", d)
		}
		r, err := parseHead("x", "0123", &http.Response{StatusCode: 200, Header: h})
		if err != nil {
			return
		}
		p := newCache("root", "o/m").blob(r.etag)
		if filepath.Dir(p) != filepath.Join("root", "models--o--m", "blobs") || r.size < -1 {
			t.Errorf("%+v leads to %s", r, p)
		}
	})
}
