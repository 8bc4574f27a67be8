// Package pagetest uses the server's chat page in a real browser.
package pagetest

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/internal/e2e"
	"github.com/ullm/ullm/server"
)

// browser is a tab at the chat page, and everything it asked for or complained about.
type browser struct {
	t      *testing.T
	ctx    context.Context
	url    string
	engine *ullm.Engine

	mu         sync.Mutex
	requests   []string
	complaints []string
}

// patience is how long something on the page may take before a test gives up.
const patience = time.Minute

// open starts a browser at the page of a server with a tiny model.
func open(t *testing.T, model string, opts ...server.Option) *browser {
	t.Helper()
	return openOn(t, model, ullm.Options{Backend: "cpu"}, opts...)
}

// openOn is open with an engine of one's own options.
func openOn(t *testing.T, model string, o ullm.Options, opts ...server.Option) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skip("chromium is not installed")
	}
	engine, err := ullm.Open(t.Context(), e2e.Load(t, model).Path, ullm.With(o))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(server.New(engine, opts...))
	profile, err := os.MkdirTemp("", "ullm-page")
	if err != nil {
		t.Fatal(err)
	}
	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.UserDataDir(profile), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.WindowSize(1100, 800), chromedp.WSURLReadTimeout(patience))
	allocator, stopBrowser := chromedp.NewExecAllocator(context.Background(), flags...)
	ctx, closeTab := chromedp.NewContext(allocator)
	b := &browser{t: t, ctx: ctx, url: s.URL, engine: engine}
	t.Cleanup(func() {
		b.screenshot("last")
		closeTab()
		stopBrowser()
		s.CloseClientConnections()
		s.Close()
		engine.Close()
		os.RemoveAll(profile)
	})
	err = chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			b.requests = append(b.requests, e.Request.URL)
		case *runtime.EventExceptionThrown:
			b.complaints = append(b.complaints, e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			b.complaints = append(b.complaints, string(e.Type))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.run(chromedp.Navigate(b.url))
	return b
}

func (b *browser) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for i, a := range actions {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		err := chromedp.Do(ctx, a)
		cancel()
		if err != nil {
			b.t.Fatalf("action %d: %v", i, err)
		}
	}
}

// eval is the value of a JavaScript expression.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// text is what an element shows; "" if there is none.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return eval[string](b, `document.querySelector('`+selector+`')?.textContent ?? ""`)
}

// wait polls until JavaScript is true.
func (b *browser) wait(condition string) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !eval[bool](b, "!!("+condition+")"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("never true: %s; the page shows %q", condition, b.text("body"))
		}
	}
}

// ask types a question, sends it and waits for the end of the answer.
func (b *browser) ask(question string) {
	b.t.Helper()
	b.run(chromedp.SendKeys("#input", question), chromedp.Click("#send"))
	b.wait(`document.querySelector("#send").className === "" && document.querySelector("#input").value === ""`)
}

func (b *browser) setting(selector, value string) {
	b.t.Helper()
	b.run(chromedp.Click("#settings > summary"), chromedp.WaitVisible(selector))
	eval[chromedp.Void](b, `{ document.querySelector("`+selector+`").value = "" }`)
	b.run(chromedp.SendKeys(selector, value+kb.Tab), chromedp.Click("#settings > summary"))
}

// screenshot writes a picture for people, where ULLM_TEST_SCREENSHOTS names a folder.
func (b *browser) screenshot(name string) {
	dir := os.Getenv("ULLM_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Log(err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(b.t.Name(), "/", "-")+"-"+name+".png"), png, 0o666); err != nil {
		b.t.Log(err)
	}
}

// check fails on requests that left the server's origin, and on errors in the page.
func (b *browser) check() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, url := range b.requests {
		if !strings.HasPrefix(url, b.url+"/") && !strings.HasPrefix(url, "data:") {
			b.t.Errorf("the page asked for %s", url)
		}
	}
	if len(b.requests) < 5 {
		b.t.Errorf("only %d requests were seen: %q", len(b.requests), b.requests)
	}
	for _, c := range b.complaints {
		b.t.Errorf("the page complains: %s", c)
	}
}

func TestConversation(t *testing.T) {
	b := open(t, "talk")
	b.wait(`document.querySelector("#model").textContent === "talk"`)
	b.screenshot("welcome")
	b.setting("#temperature", "0")
	b.run(chromedp.Click("#think")) // the model's prompts have no mark against thinking
	b.ask("What is two plus two?")
	if got := b.text(".assistant .text"); got != "Two plus two is four." {
		t.Errorf("the answer is %q", got)
	}
	if got := b.text(".user .text"); got != "What is two plus two?" {
		t.Errorf("the question is %q", got)
	}
	if got := b.text(".foot span"); !strings.HasPrefix(got, "9 tokens") {
		t.Errorf("the foot is %q", got)
	}
	b.ask("Thanks!") // an answer that depends on the turn before
	if got := b.text(".assistant:last-child .text"); got != "You are welcome." {
		t.Errorf("the second answer is %q", got)
	}
	b.run(chromedp.Click("#clear"), chromedp.WaitVisible("#welcome"))
	if got := b.text("#messages"); got != "" {
		t.Errorf("after New chat there is %q", got)
	}
	b.setting("#system", "You are a tiny test model.")
	b.ask("Hello!")
	if got := b.text(".assistant .text"); got != "Greetings, human." {
		t.Errorf("with a system message the answer is %q", got)
	}
	b.check()
}

func TestThinking(t *testing.T) {
	b := open(t, "think")
	b.setting("#temperature", "0")
	b.ask("Hello!")
	if got, thought := b.text(".assistant .text"), b.text(".thought"); got != "Hello! How can I help you?" || thought != "" {
		t.Errorf("without thinking the answer is %q, the thought %q", got, thought)
	}
	b.run(chromedp.Click("#clear"), chromedp.Click("#think"))
	b.ask("What is two plus two?")
	if got, thought := b.text(".assistant .text"), b.text(".thought"); got != "Two plus two is four." || thought != "2 + 2 = 4, so the answer is four." {
		t.Errorf("the answer is %q, the thought %q", got, thought)
	}
	b.run(chromedp.Click(".thinking summary"), chromedp.WaitVisible(".thought"))
	b.check()
}

func TestStop(t *testing.T) {
	// No answer of the model's is long, so it is asked for one without an end through the page's own fetch, in a context that
	// no test lives to see the end of.
	b := openOn(t, "talk", ullm.Options{Backend: "ref", RopeScaling: `{"rope_type":"linear","factor":64}`, KVCacheTokens: 1 << 16})
	eval[chromedp.Void](b, `{
		const fetched = window.fetch;
		window.fetch = (url, options) => {
			if (options?.body) options.body = JSON.stringify({ ...JSON.parse(options.body), ignore_eos: true });
			return fetched(url, options);
		};
	}`)
	b.run(chromedp.SendKeys("#input", "Hello!"+kb.Enter))
	b.wait(`document.querySelector(".assistant .text")?.textContent.length > 20`)
	b.screenshot("running")
	b.run(chromedp.Click("#send.stop"))
	b.wait(`document.querySelector("#send").className === ""`)
	stopped := b.text(".assistant .text")
	time.Sleep(200 * time.Millisecond)
	if got := b.text(".assistant .text"); got != stopped || b.text(".failed") != "" {
		t.Errorf("after Stop: %q, then %q, error %q", stopped, got, b.text(".failed"))
	}
	for deadline := time.Now().Add(patience); b.engine.Stats().Running > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server still answers")
		}
	}
	if s := b.engine.Stats(); s.GeneratedTokens > 60_000 {
		t.Errorf("%d tokens were generated", s.GeneratedTokens)
	}
	b.check()
}

func TestErrors(t *testing.T) {
	b := open(t, "talk", server.APIKey("secret"))
	b.wait(`document.querySelector("#model").textContent === "set the API key"`)
	b.setting("#key", "guess")
	b.ask("Hello!")
	if got := b.text(".failed .text"); !strings.Contains(got, "API key") {
		t.Errorf("with a wrong key the page says %q", got)
	}
	if got := b.text(".assistant"); got != "" {
		t.Errorf("and there is an answer: %q", got)
	}
	b.screenshot("wrong-key")
	b.setting("#key", "secret")
	b.wait(`document.querySelector("#model").textContent === "talk"`)
	b.setting("#temperature", "0")
	b.run(chromedp.Click("#think"))
	b.ask("Hello!")
	if got := b.text(".assistant .text"); got != "Hello! How can I help you?" {
		t.Errorf("with the right key the answer is %q", got)
	}
	b.check()
}
