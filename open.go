package ullm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ullm/ullm/backends"
	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/chat"
	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/model/guide"
	"github.com/ullm/ullm/model/hub"
	"github.com/ullm/ullm/model/qwen3"
	"github.com/ullm/ullm/model/random"
	"github.com/ullm/ullm/model/tokenizer"
	"github.com/ullm/ullm/sched"
	"github.com/ullm/ullm/tensor"
)

// arch finds an architecture by the name that its checkpoints use.
func arch(name string) (model.Arch, error) {
	switch name {
	case model.ArchQwen3:
		return qwen3.Arch{}, nil
	}
	return nil, fmt.Errorf("ullm: architecture %q is not supported; supported: %q", name, model.ArchQwen3)
}

// setDefaults fills in what may be nil.
func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if profile, loaded := o.Profile, new(atomic.Bool); profile != nil {
		o.loaded = loaded
		o.Profile = func(r tensor.Run) {
			if loaded.Load() {
				profile(r)
			}
		}
	}
}

// openFiles opens a model's files and finds its architecture.
func openFiles(ctx context.Context, name string, o Options) (*files.Files, model.Arch, error) {
	f, err := Files(ctx, name, o)
	if err != nil {
		return nil, nil, err
	}
	if o.RopeScaling != "" {
		err = f.Config.SetRopeScaling([]byte(o.RopeScaling))
	}
	var a model.Arch
	if err == nil {
		a, err = arch(f.Config.Arch)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, a, nil
}

// Open opens a model and starts to serve it. name is "" for the embedded guide, a Hugging Face directory, a .gguf file,
// a hub id ("Qwen/Qwen3-0.6B@main", "Qwen/Qwen3-0.6B-GGUF:Q8_0") or a random model ("random:0.6b,q8_0"). When it fails,
// or ctx ends, everything is freed.
func Open(ctx context.Context, name string, options ...Option) (*Engine, error) {
	var o Options
	for _, f := range options {
		f(&o)
	}
	o.setDefaults()
	f, a, err := openFiles(ctx, name, o)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	e := &Engine{config: f.Config, now: o.Now, log: o.Log}
	if err := e.parseTemplate(f.Template, o.ChatTemplate); err != nil {
		return nil, err
	}
	// A large vocabulary takes as long to read as a small model's weights.
	vocabulary := make(chan error, 1)
	go func() {
		var err error
		e.tokenizer, err = f.Tokenizer()
		vocabulary <- err
	}()
	err = e.load(ctx, a, f, o)
	if tokenizerErr := <-vocabulary; tokenizerErr != nil || err != nil {
		return nil, errors.Join(err, tokenizerErr, e.abandon())
	}
	e.stops = f.Config.EOS
	if id, ok := e.tokenizer.ID("<|im_end|>"); ok && len(e.stops) == 0 {
		e.stops = []int32{id}
	}
	info := e.device.Info()
	e.info = Info{Model: servedName(name, o.ServedName), Path: f.Path, Created: o.Now(), Device: info,
		Sizing: e.instance.Sizing(), Defaults: f.Config.Generation}
	s := e.info.Sizing
	depth := info.Depth
	if o.NoAsync {
		depth = 1
	}
	stretch := 0.0
	if info.Threads > 0 {
		stretch = hostStretch
	}
	e.loop = sched.New(e.instance, sched.Options{Depth: depth, MaxQueue: o.MaxQueue, Limits: sched.Limits{
		Context: s.Context, Slots: s.MaxSeqs, Pages: s.Pages, Step: s.Limits(), Stretch: stretch, NoPrefix: o.NoPrefixCache}})
	o.Log.Info("ready", "model", e.info.Model, "backend", info.Backend, "device", info.Name,
		"threads", info.Threads, "depth", depth, "context", s.Context, "kv_tokens", s.KVTokens(), "kv_dtype", s.KV.String(), "full_requests", s.KVTokens()/s.Context,
		"max_bs", s.MaxSeqs, "batch_tokens", s.MaxTokens, "memory", e.device.Stats().String())
	return e, nil
}

// load opens the device and brings the model onto it.
func (e *Engine) load(ctx context.Context, a model.Arch, f *files.Files, o Options) error {
	var err error
	if e.device, err = openDevice(o); err != nil {
		return err
	}
	e.instance, err = loadInstance(ctx, e.device, a, f, o)
	return err
}

func openDevice(o Options) (tensor.Device, error) {
	if o.device != nil {
		return o.device()
	}
	backend := o.Backend
	if backend == "" {
		backend = "auto"
	}
	return backends.Open(backend, o.DeviceID, backends.Options{Threads: o.Threads, CPULevel: o.CPULevel, MemoryUtilization: o.memoryUtilization(), Profile: o.Profile, Log: o.Log})
}

func (o *Options) memoryUtilization() float64 {
	if o.MemoryUtilization == 0 {
		return 0.9
	}
	return o.MemoryUtilization
}

// loadInstance turns options into sizes.
func loadInstance(ctx context.Context, d tensor.Device, a model.Arch, f *files.Files, o Options) (*model.Instance, error) {
	m := model.Options{Context: o.ContextLen, MaxSeqs: o.MaxBatchSeqs, MaxTokens: o.MaxBatchTokens, KVTokens: o.KVCacheTokens, Eager: o.Eager, Log: o.Log}
	if o.Progress != nil {
		m.Progress = func(done, total int64) { o.Progress("load", done, total) }
	}
	if o.KVDType != "" && o.KVDType != "auto" {
		var err error
		if m.KV, err = tensor.ParseFormat(o.KVDType); err != nil {
			return nil, err
		}
	}
	info := d.Info()
	free := info.Free
	if free == 0 {
		free = info.Memory // the driver does not tell what others hold
	}
	m.Memory = int64(o.memoryUtilization() * float64(free))
	if free == 0 || info.Shared {
		m.KVBytes = hostCache(f.Config, m, info.KVFormats[0])
	}
	in, err := model.Load(ctx, d, a, f.Config, f.Checkpoint, m)
	if o.loaded != nil {
		o.loaded.Store(true)
	}
	return in, err
}

// Instance is a model on a device without the loop that serves requests: what benchmarks drive.
type Instance struct {
	Device tensor.Device
	Model  *model.Instance
}

// OpenInstance is Open without a loop, a tokenizer and a template.
func OpenInstance(ctx context.Context, name string, o Options) (*Instance, error) {
	o.setDefaults()
	f, a, err := openFiles(ctx, name, o)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := openDevice(o)
	if err != nil {
		return nil, err
	}
	m, err := loadInstance(ctx, d, a, f, o)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &Instance{d, m}, nil
}

// Close frees everything, and says what leaked.
func (i *Instance) Close() error {
	err := i.Model.Close()
	_, deviceErr := closeDevice(i.Device)
	return errors.Join(err, deviceErr)
}

// hostStretch is how much longer a step may take where the processor computes when it holds prompts beside others' next
// tokens. A few hundred prompt tokens take seconds there, and everyone's next token would wait for them. Two and a half times
// as long computes a prompt at more than half the processor's speed, and leaves the 99th percentile between tokens under
// three times the median.
const hostStretch = 2.5

// hostCache bounds the cache in a machine's main memory, which is not ours alone, or in memory of unknown size: 4 GiB, or
// one full sequence if that is more.
func hostCache(c model.Config, m model.Options, defaultFormat tensor.Format) int64 {
	context := m.Context
	if context == 0 {
		context = c.ContextLength()
	}
	format := m.KV
	if format == tensor.NoFormat {
		format = defaultFormat
	}
	perToken := 2 * int64(c.Layers) * int64(c.KVHeads) * int64(format.RowBytes(c.HeadDim))
	return max(4<<30, perToken*int64(context+tensor.PageTokens))
}

// abandon frees what a failed Open has made.
func (e *Engine) abandon() error {
	var errs []error
	if e.instance != nil {
		errs = append(errs, e.instance.Close())
	}
	if e.device != nil {
		report, err := closeDevice(e.device)
		errs = append(errs, err)
		e.log.Info(report.String())
	}
	return errors.Join(errs...)
}

func (e *Engine) parseTemplate(own, replacement string) error {
	source := own
	if replacement != "" {
		source = replacement
	}
	if source == "" {
		source = chat.DefaultTemplate
	}
	var err error
	e.template, err = chat.Parse(source)
	return err
}

// Files opens the files of a model, downloading them if name is a hub id.
func Files(ctx context.Context, name string, o Options) (*files.Files, error) {
	switch {
	case name == "":
		return files.GGUF("the embedded guide", guide.GGUF())
	case strings.HasPrefix(name, random.Prefix):
		return randomFiles(name)
	}
	path, err := Locate(ctx, name, o)
	if err != nil {
		return nil, err
	}
	return files.Open(path)
}

// Locate is where a model's files are: name itself, or what Pull returns if it is a hub id.
func Locate(ctx context.Context, name string, o Options) (string, error) {
	if _, err := os.Stat(name); err == nil || !hub.IsRef(name) {
		return name, nil
	}
	return Pull(ctx, name, o)
}

// Pull downloads what a hub id names, unless the cache has it, and returns where it is.
func Pull(ctx context.Context, name string, o Options) (string, error) {
	ref, err := hub.ParseRef(name)
	if err != nil {
		return "", err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("ullm: %w", err)
	}
	h := hub.FromEnvironment(os.Getenv, home)
	h.Offline = h.Offline || o.HubOffline
	h.Log = o.Log
	if o.Progress != nil {
		h.Progress = func(e hub.Event) { o.Progress("download", e.AllDone, e.AllTotal) }
	}
	return hub.Resolve(ctx, ref, h)
}

func randomFiles(name string) (*files.Files, error) {
	s, err := random.Parse(name)
	if err != nil {
		return nil, err
	}
	c, _ := model.Published(s.Size)
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &files.Files{Path: name, Config: c, Checkpoint: random.New(c, s.Format, s.Seed),
		Tokenizer: func() (*tokenizer.Tokenizer, error) { return tokenizer.Bytes(c.Vocab), nil }}, nil
}

// servedName is what answers call the model.
func servedName(name, chosen string) string {
	switch {
	case chosen != "":
		return chosen
	case name == "":
		return "ullm-guide"
	}
	if abs, err := filepath.Abs(name); err == nil {
		if _, err := os.Stat(name); err == nil {
			return strings.TrimSuffix(filepath.Base(abs), ".gguf")
		}
	}
	return name
}
