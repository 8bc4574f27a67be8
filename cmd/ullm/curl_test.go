package main

import "testing"

func TestCurl(t *testing.T) {
	for _, c := range []struct{ goos, key, url, model, want string }{
		{"linux", "", "http://x:1", "m",
			`try: curl http://x:1/v1/chat/completions -H 'Content-Type: application/json' -d '{"model":"m","messages":[{"role":"user","content":"What is ullm?"}]}'`},
		{"linux", "k", "https://x:1", "m",
			`try: curl https://x:1/v1/chat/completions -H 'Content-Type: application/json' -H "Authorization: Bearer $ULLM_API_KEY" --insecure -d '{"model":"m","messages":[{"role":"user","content":"What is ullm?"}]}'`},
		{"windows", "k", "http://x:1", `"m"`,
			`try: curl http://x:1/v1/chat/completions -H "Content-Type: application/json" -H "Authorization: Bearer %ULLM_API_KEY%" -d "{\"model\":\"\\\"m\\\"\",\"messages\":[{\"role\":\"user\",\"content\":\"What is ullm?\"}]}"`},
	} {
		serve := serveCommand{APIKey: c.key}
		if got := serve.curl(c.goos, c.url, c.model); got != c.want {
			t.Errorf("got\n%s, want\n%s", got, c.want)
		}
	}
}
