package model_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/ullm/ullm/backends/cpu"
	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/model/internal/golden"
	"github.com/ullm/ullm/model/qwen3"
	"github.com/ullm/ullm/tensor"
)

// tiny is a model of one layer, in F32: 2 KV heads of 32, a context of 1024.
const tiny = "qwen3/testdata/float32"

func openTiny(t *testing.T) *files.Files {
	t.Helper()
	f, err := files.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func openRef(t *testing.T, o ref.Options) tensor.Device {
	t.Helper()
	d, err := ref.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// closeAll closes an instance (if there is one) and its device; nothing may be held in between.
func closeAll(t *testing.T, in *model.Instance, d tensor.Device) {
	t.Helper()
	if in != nil {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
	if held := d.Stats().Total(); held != (tensor.Count{}) {
		t.Errorf("still held: %s", d.Stats())
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// tinyPage is the size of 16 tokens' keys and values in F32.
const tinyPage = 2 * 2 * 32 * tensor.PageTokens * 4

func TestSizing(t *testing.T) {
	f := openTiny(t)
	for name, c := range map[string]struct {
		options model.Options
		check   func(s model.Sizing) bool
		logs    string
	}{
		"defaults": {model.Options{}, func(s model.Sizing) bool {
			return s.Context == 1024 && s.MaxSeqs == 256 && s.MaxTokens == 512 && s.HeadRows == 64 && s.KV == tensor.F32 &&
				s.Pages == 256*64 && s.KVBytes == 256*64*tinyPage
		}, ""},
		"fewer sequences": {model.Options{MaxSeqs: 3, Context: 100, MaxTokens: 5}, func(s model.Sizing) bool {
			return s.Context == 100 && s.MaxSeqs == 3 && s.MaxTokens == 5 && s.HeadRows == 5 && s.Pages == 3*7
		}, ""},
		"a bounded cache": {model.Options{KVBytes: 70*tinyPage + 1}, func(s model.Sizing) bool {
			return s.Context == 1024 && s.Pages == 70 && s.KVTokens() == 1120
		}, ""},
		"a cache shorter than the context": {model.Options{KVBytes: 3 * tinyPage}, func(s model.Sizing) bool {
			return s.Context == 48 && s.Pages == 3
		}, "context lowered"},
		"a cache of tokens": {model.Options{KVTokens: 1025, KVBytes: 1 << 30}, func(s model.Sizing) bool {
			return s.Context == 1024 && s.Pages == 65
		}, ""},
		"q8_0": {model.Options{KV: tensor.Q8_0, KVBytes: 70 * tinyPage}, func(s model.Sizing) bool {
			return s.KV == tensor.Q8_0 && s.Pages == 70*tinyPage/(2*2*tensor.PageTokens*34)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			c.options.Log = slog.New(slog.NewTextHandler(&log, nil))
			d := openRef(t, ref.Options{})
			in, err := model.Load(t.Context(), d, qwen3.Arch{}, f.Config, f.Checkpoint, c.options)
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(t, in, d)
			s := in.Sizing()
			if !c.check(s) {
				t.Errorf("%+v", s)
			}
			if strings.Contains(log.String(), "context lowered") != (c.logs != "") {
				t.Errorf("logged %s", log.String())
			}
			live := d.Stats().Live
			if s.WeightBytes != live[tensor.UseWeights].Bytes || s.KVBytes != live[tensor.UseKV].Bytes ||
				s.ScratchBytes != live[tensor.UseScratch].Bytes || s.ProgramBytes != live[tensor.UseProgram].Bytes ||
				s.SlotBytes < live[tensor.UseSlots].Bytes {
				t.Errorf("%+v, and the device holds %s", s, d.Stats())
			}
			if embed := int64(320 * 64 * 4); s.StepBytes <= 0 || s.StepBytes >= s.WeightBytes-embed {
				t.Errorf("a step reads %d of %d bytes of weights", s.StepBytes, s.WeightBytes)
			}
		})
	}
}

func TestSizingRefuses(t *testing.T) {
	f := openTiny(t)
	for name, c := range map[string]struct {
		options model.Options
		is      error
		says    string
	}{
		"a longer context than the model's": {model.Options{Context: 1025}, nil, "1024"},
		"a context that does not fit":       {model.Options{Context: 64, KVBytes: 3 * tinyPage}, tensor.ErrOutOfMemory, "--context-len"},
		"tokens that are too few":           {model.Options{Context: 64, KVTokens: 48}, tensor.ErrOutOfMemory, "room for 48 tokens"},
		"no page at all":                    {model.Options{KVBytes: tinyPage - 1}, tensor.ErrOutOfMemory, "--kv-dtype"},
		"weights that do not fit":           {model.Options{Memory: 1 << 16}, tensor.ErrOutOfMemory, "--max-bs"},
	} {
		t.Run(name, func(t *testing.T) {
			d := openRef(t, ref.Options{Fault: func(call string) error { return fmt.Errorf("%s, before the sizes are clear", call) }})
			defer closeAll(t, nil, d)
			_, err := model.Load(t.Context(), d, qwen3.Arch{}, f.Config, f.Checkpoint, c.options)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestSizingKeepsToMemory loads on devices of many sizes that refuse one byte too much: either the model fits, or it is
// refused before anything was allocated.
func TestSizingKeepsToMemory(t *testing.T) {
	f := openTiny(t)
	fits, refused := 0, 0
	for memory := int64(600_000); memory < 4_000_000; memory += 212_345 {
		d := openRef(t, ref.Options{Memory: memory})
		in, err := model.Load(t.Context(), d, qwen3.Arch{}, f.Config, f.Checkpoint, model.Options{Memory: memory, MaxTokens: 32, MaxSeqs: 8})
		switch {
		case err == nil:
			fits++
			if held := d.Stats().Total().Bytes; held < memory/2 && in.Sizing().Pages < 8*64 {
				t.Errorf("memory of %d: only %d are used: %+v", memory, held, in.Sizing())
			}
		case strings.Contains(err.Error(), "ref:"):
			t.Errorf("memory of %d: %v", memory, err)
		default:
			refused++
		}
		closeAll(t, in, d)
	}
	if fits == 0 || refused == 0 {
		t.Errorf("%d fit, %d were refused: the test is too tame", fits, refused)
	}
}

// TestLoadFaults fails every call that Load makes to the device, one after the other; whatever was allocated before must
// be freed.
func TestLoadFaults(t *testing.T) {
	f := openTiny(t)
	o := model.Options{MaxSeqs: 2, MaxTokens: 4, Context: 32}
	broken := errors.New("broken")
	for n := 1; ; n++ {
		calls, failed := 0, ""
		d := openRef(t, ref.Options{Fault: func(call string) error {
			if calls++; calls == n {
				failed = call
				return broken
			}
			return nil
		}})
		in, err := model.Load(t.Context(), d, qwen3.Arch{}, f.Config, f.Checkpoint, o)
		if failed == "" {
			if err != nil {
				t.Error(err)
			}
			closeAll(t, in, d)
			if n < 20 {
				t.Errorf("only %d calls were seen", n-1)
			}
			return
		}
		if in != nil || !errors.Is(err, broken) {
			t.Errorf("%s: %v, %v", failed, in, err)
		}
		closeAll(t, nil, d)
	}
}

func TestLoadInterrupted(t *testing.T) {
	f := openTiny(t)
	for _, share := range []int64{0, 2, 1} { // at the first weight, in the middle, at the last
		ctx, cancel := context.WithCancel(t.Context())
		d := openRef(t, ref.Options{})
		in, err := model.Load(ctx, d, qwen3.Arch{}, f.Config, f.Checkpoint, model.Options{Progress: func(done, total int64) {
			if share == 0 || done >= total/share {
				cancel()
			}
		}})
		if in != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", in, err)
		}
		closeAll(t, nil, d)
		cancel()
	}
}

// prompt is a batch of one prompt in slot 0, its pages from 0 on, each of whose rows is kept and looked at.
func prompt(tokens []int32) *model.Batch {
	b := &model.Batch{}
	b.Forward.IDs = tokens
	n := int32(len(tokens))
	b.Forward.Seqs = []tensor.SeqStep{{Count: n, Keep: n, PromptLen: n, Reset: true}}
	b.Forward.Params = []tensor.ParamWrite{{Sampling: tensor.Sampling{Repetition: 1, TopP: 1}}}
	for i := range (n + tensor.PageTokens - 1) / tensor.PageTokens {
		b.Forward.Pages = append(b.Forward.Pages, tensor.PageWrite{Index: i, Page: i})
	}
	for i := range n {
		b.Head = append(b.Head, tensor.HeadRow{Row: i, Position: i + 1, Ask: -1, Top: 1})
	}
	return b
}

// TestManyRows looks at more rows than one Head holds, and compares them with transformers.
func TestManyRows(t *testing.T) {
	cases, err := golden.Load(tiny)
	if err != nil {
		t.Fatal(err)
	}
	f := openTiny(t)
	d := openRef(t, ref.Options{})
	in, err := model.Load(t.Context(), d, qwen3.Arch{}, f.Config, f.Checkpoint, model.Options{MaxSeqs: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, in, d)
	most := 0
	for _, s := range cases[0].Sequences {
		most = max(most, len(s.Tokens))
		b := prompt(s.Tokens)
		for i := range b.Head {
			b.Head[i].Ask = s.Rows[i].IDs[0]
		}
		ticket, err := in.Start(b)
		if err != nil {
			t.Fatal(err)
		}
		sampled, err := in.Wait(t.Context(), ticket)
		if err != nil || len(sampled) != len(s.Tokens) {
			t.Fatalf("%d rows, %v", len(sampled), err)
		}
		for i, r := range sampled {
			if diff := math.Abs(float64(r.AskLogprob) - float64(s.Rows[i].LogProbs[0])); !(diff < 2e-3) || r.ID != -1 {
				t.Errorf("row %d: %+v, want a logprob of %g", i, r, s.Rows[i].LogProbs[0])
			}
		}
	}
	if most <= 2*in.Sizing().HeadRows {
		t.Errorf("the longest sequence has %d tokens: too few for three Heads", most)
	}
}

// TestStartFaults fails every call that a step makes. Start and Wait must report it, and leave nothing in flight that
// would keep Close from ending.
func TestStartFaults(t *testing.T) {
	f := openTiny(t)
	broken := errors.New("broken")
	for n := 1; ; n++ {
		calls, failed := 0, ""
		armed := false
		d := openRef(t, ref.Options{Fault: func(call string) error {
			if !armed {
				return nil
			}
			if calls++; calls == n {
				failed = call
				return broken
			}
			return nil
		}})
		in, err := model.Load(t.Context(), d, qwen3.Arch{}, f.Config, f.Checkpoint, model.Options{MaxSeqs: 1, MaxTokens: 128})
		if err != nil {
			t.Fatal(err)
		}
		armed = true
		ticket, err := in.Start(prompt(make([]int32, 100))) // two Heads
		if err == nil {
			_, err = in.Wait(t.Context(), ticket)
		}
		armed = false
		if failed == "" && n < 7 {
			t.Errorf("only %d calls were seen", n-1)
		}
		if (failed != "") != errors.Is(err, broken) || failed == "" && err != nil {
			t.Errorf("%q: %v", failed, err)
		}
		closeAll(t, in, d)
		if failed == "" {
			return
		}
	}
}

// TestOddSteps runs a step without tokens, which a scheduler uses to write long page tables, and refuses one that no
// bucket holds.
func TestOddSteps(t *testing.T) {
	f := openTiny(t)
	for name, open := range map[string]func() (tensor.Device, error){
		"ref": func() (tensor.Device, error) { return ref.Open(ref.Options{}) },
		"cpu": func() (tensor.Device, error) { return cpu.Open(cpu.Options{Threads: 2}) },
	} {
		t.Run(name, func(t *testing.T) {
			d, err := open()
			if err != nil {
				t.Fatal(err)
			}
			in, err := model.Load(t.Context(), d, qwen3.Arch{}, f.Config, f.Checkpoint, model.Options{MaxSeqs: 1, MaxTokens: 20})
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(t, in, d)
			run := func(b *model.Batch) []tensor.Sampled {
				t.Helper()
				ticket, err := in.Start(b)
				if err != nil {
					t.Fatal(err)
				}
				sampled, err := in.Wait(t.Context(), ticket)
				if err != nil {
					t.Fatal(err)
				}
				return sampled
			}
			tokens := []int32{5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22}
			want := run(prompt(tokens))
			first := prompt(tokens)
			first.Forward.IDs, first.Forward.Seqs[0].Count, first.Forward.Seqs[0].Keep, first.Head = nil, 0, 0, nil
			if sampled := run(first); len(sampled) != 0 {
				t.Errorf("a step without rows sampled %v", sampled)
			}
			second := prompt(tokens)
			second.Forward.Pages, second.Forward.Params, second.Forward.Seqs[0].Reset = nil, nil, false
			for i, have := range run(second) {
				if have != want[i] {
					t.Errorf("row %d: %+v in two steps, %+v in one", i, have, want[i])
				}
			}
			if _, err := in.Start(prompt(make([]int32, 21))); err == nil || !strings.Contains(err.Error(), "21 tokens") {
				t.Errorf("a step that is too large: %v", err)
			}
		})
	}
}

// wrongTensor is a checkpoint in which one tensor is not as the configuration says.
type wrongTensor struct {
	model.Checkpoint
	name string
	info model.TensorInfo
	ok   bool
}

func (w wrongTensor) Lookup(name string) (model.TensorInfo, bool) {
	if name == w.name {
		return w.info, w.ok
	}
	return w.Checkpoint.Lookup(name)
}

// TestLoadRefusesWrongTensors changes each tensor of a checkpoint in every way that its configuration does not allow.
func TestLoadRefusesWrongTensors(t *testing.T) {
	f := openTiny(t)
	names := []string{"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}
	for _, n := range []string{"input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
		"self_attn.q_norm", "self_attn.k_norm", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"} {
		names = append(names, "model.layers.0."+n+".weight")
	}
	for _, name := range names {
		right, ok := f.Checkpoint.Lookup(name)
		if !ok {
			t.Fatal(name)
		}
		for what, wrong := range map[string]wrongTensor{
			"missing":          {},
			"of no format":     {info: model.TensorInfo{Stored: "F8_E4M3", Rows: right.Rows, Cols: right.Cols}, ok: true},
			"a row more":       {info: model.TensorInfo{Format: right.Format, Rows: right.Rows + 1, Cols: right.Cols}, ok: true},
			"without rows":     {info: model.TensorInfo{Format: right.Format, Cols: right.Cols}, ok: true},
			"a column more":    {info: model.TensorInfo{Format: right.Format, Rows: right.Rows, Cols: right.Cols + 1}, ok: true},
			"without columns":  {info: model.TensorInfo{Format: right.Format, Rows: right.Rows}, ok: true},
			"in uneven blocks": {info: model.TensorInfo{Format: tensor.Q4_K, Rows: right.Rows, Cols: right.Cols + 1}, ok: true},
		} {
			wrong.Checkpoint, wrong.name = f.Checkpoint, name
			d := openRef(t, ref.Options{Fault: func(call string) error { return fmt.Errorf("%s, before the tensors are checked", call) }})
			_, err := model.Load(t.Context(), d, qwen3.Arch{}, f.Config, wrong, model.Options{MaxSeqs: 1})
			if err == nil || strings.Contains(err.Error(), "before the tensors") {
				t.Errorf("%s %s: %v", name, what, err)
			} else if named := strings.Contains(err.Error(), name); !named && (what == "missing" || what == "of no format") {
				t.Errorf("%s %s: the error does not name it: %v", name, what, err)
			}
			closeAll(t, nil, d)
		}
	}
}
