package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// fixed are requests that each mean one thing; random ones follow them.
func fixed() []request {
	q := func(messages string, change ...func(*request)) request {
		r := request{Messages: json.RawMessage(messages), AddGenerationPrompt: true}
		for _, c := range change {
			c(&r)
		}
		return r
	}
	kwarg := func(name string, v any) func(*request) {
		return func(r *request) { r.Kwargs = map[string]any{name: v} }
	}
	tools := func(list ...string) func(*request) {
		return func(r *request) {
			for _, s := range list {
				r.Tools = append(r.Tools, json.RawMessage(s))
			}
		}
	}
	const weather = `{"type":"function","function":{"name":"weather","description":"<b>Wetter & \"Klima\"</b> für 東京 😀","parameters":{"type":"object","required":["city"],"properties":{"city":{"type":"string"},"days":{"type":"integer","default":3,"minimum":1.0,"maximum":1e21,"big":12345678901234567890}}}}}`
	const call = `{"role":"assistant","content":"","tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":%s}}]}`
	ask := `{"role":"user","content":"Hi"}`
	return []request{
		q(`[` + ask + `]`),
		q(`[`+ask+`]`, func(r *request) { r.AddGenerationPrompt = false }),
		q(`[`+ask+`]`, kwarg("enable_thinking", false)),
		q(`[`+ask+`]`, kwarg("enable_thinking", true)),
		q(`[`+ask+`]`, kwarg("enable_thinking", nil)),
		q(`[`+ask+`]`, kwarg("enable_thinking", 0)),
		q(`[{"role":"system","content":"Be nice"},` + ask + `]`),
		q(`[{"role":"system","content":""},`+ask+`]`, tools(weather)),
		q(`[{"role":"system","content":"Be nice"},`+ask+`]`, tools(weather, `{"b":[],"a":{},"c":null}`)),
		q(`[`+ask+`]`, tools(weather)),
		q(`[` + ask + `,{"role":"system","content":"late"}]`),
		q(`[` + ask + `,{"role":"assistant","content":"<think>\nthought\n</think>\n\nanswer"},{"role":"user","content":"more"}]`),
		q(`[` + ask + `,{"role":"assistant","content":"<think>\n\nthought\n\n</think>\n\n\nanswer"}]`),
		q(`[` + ask + `,{"role":"assistant","content":"answer","reasoning_content":"\nthought\n"}]`),
		q(`[` + ask + `,{"role":"assistant","content":"answer","reasoning_content":"thought"},{"role":"user","content":"more"}]`),
		q(`[` + ask + `,{"role":"assistant","content":"answer","reasoning":"other name"}]`),
		q(`[` + ask + `,{"role":"assistant","content":"no opening</think>answer</think>again"}]`),
		q(`[` + ask + `,{"role":"assistant","content":"<think>never closed"}]`),
		q(`[{"role":"user","content":"What is </think> and <think>?"},{"role":"assistant","content":"A tag"}]`),
		q(`[` + ask + `,{"role":"assistant","content":null,"tool_calls":[]}]`),
		q(`[`+ask+`,`+fmt.Sprintf(call, `"{\"city\": \"東京\", \"html\": \"<&>\"}"`)+`,{"role":"tool","tool_call_id":"c1","content":"rain <&>"}]`, tools(weather)),
		q(`[`+ask+`,`+fmt.Sprintf(call, `{"city":"東京","html":"<&>","n":1.0}`)+`,{"role":"tool","content":"a"},{"role":"tool","content":"b"},{"role":"assistant","content":"done","reasoning_content":"hm"}]`, tools(weather)),
		q(`[` + ask + `,{"role":"assistant","content":"<think>\nhm\n</think>\n\nLet me see","tool_calls":[{"function":{"name":"a","arguments":{}}},{"function":{"name":"b","arguments":"{}"}}]},{"role":"tool","content":""},{"role":"user","content":"<tool_response>not a question</tool_response>"}]`),
		q(`[{"role":"tool","content":"first"},` + ask + `]`),
		q(`[{"role":"user","content":"<tool_response>x</tool_response>"}]`),
		q(`[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`),
		q(`[{"role":"user","content":""}]`),
		q(`[{"role":"user","content":null}]`),
		q(`[{"role":"other","content":"ignored"},` + ask + `]`),
		q(`[{"role":"user","content":"Zoë said: \"naïve 東京 😀\" \u0000 \u200b <|im_end|>"}]`),
		q(`[]`),
	}
}

// generate makes a conversation of awkward pieces.
func generate(r *rand.Rand) request {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	text := func() string {
		var b strings.Builder
		for range r.IntN(5) {
			b.WriteString(pick("Hello", " ", "\n", "\n\n", "<think>", "</think>", "<tool_response>", "</tool_response>", "東京", "😀",
				"é", "<b>&'\"</b>", "\\n", "{{ x }}", "{% if %}", "<|im_end|>", "\t", "</think>\n\n", "<think>\n", "a b", "\u2028", "\u0001"))
		}
		return b.String()
	}
	var value func(depth int) any
	value = func(depth int) any {
		n := 9
		if depth > 2 {
			n = 6
		}
		switch r.IntN(n) {
		case 0:
			return text()
		case 1:
			return r.IntN(1000) - 500
		case 2:
			return json.Number(pick("1.0", "0.1", "1e5", "1e-7", "-0.0", "1E+30", "123456789012345678901", "-0", "3.14", "100000000000000000000.5"))
		case 3:
			return r.IntN(2) == 0
		case 4:
			return nil
		case 5:
			return pick("string", "object")
		case 6:
			list := []any{}
			for range r.IntN(3) {
				list = append(list, value(depth+1))
			}
			return list
		}
		return object(r, func() (string, any) {
			return pick("z", "a", "ключ", "k<", "\"", "type", "items") + fmt.Sprint(r.IntN(9)), value(depth + 1)
		})
	}
	raw := func(v any) json.RawMessage {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return b
	}
	var messages []any
	for range 1 + r.IntN(6) {
		m := map[string]any{"role": pick("system", "user", "user", "assistant", "assistant", "assistant", "tool", "tool"), "content": text()}
		if m["role"] == "assistant" {
			switch r.IntN(4) {
			case 0:
				m["reasoning_content"] = text()
			case 1:
				m["content"] = nil
			}
			if m["reasoning_content"] == "" {
				delete(m, "reasoning_content") // empty is absent here
			}
			var calls []any
			for range max(0, r.IntN(5)-2) {
				var args any = object(r, func() (string, any) { return pick("city", "n", "<x>", "日"), value(1) })
				if r.IntN(2) == 0 {
					args = string(raw(args))
				}
				calls = append(calls, map[string]any{"type": "function", "id": "call", "function": map[string]any{"name": pick("f", "get_weather"), "arguments": args}})
			}
			if calls != nil {
				m["tool_calls"] = calls
			}
		}
		messages = append(messages, m)
	}
	req := request{Messages: raw(messages), AddGenerationPrompt: r.IntN(4) > 0}
	for range max(0, r.IntN(5)-2) {
		req.Tools = append(req.Tools, raw(object(r, func() (string, any) { return pick("type", "function", "b", "a"), value(0) })))
	}
	switch r.IntN(3) {
	case 0:
		req.Kwargs = map[string]any{"enable_thinking": r.IntN(2) == 0}
	case 1:
		req.Kwargs = map[string]any{"thinking_budget": 1024}
	}
	return req
}

// object makes a JSON object whose keys are in no order.
func object(r *rand.Rand, field func() (string, any)) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range r.IntN(4) {
		if i > 0 {
			b.WriteByte(',')
		}
		k, v := field()
		rk, _ := json.Marshal(k)
		rv, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		b.Write(rk)
		b.WriteByte(':')
		b.Write(rv)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func randomRequests(seed uint64, n int) []request {
	r := rand.New(rand.NewPCG(seed, 1))
	list := make([]request, n)
	for i := range list {
		list[i] = generate(r)
	}
	return list
}

func withTemplate(list []request, template string) []request {
	for i := range list {
		list[i].Template = template
	}
	return list
}
