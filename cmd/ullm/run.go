package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ergochat/readline"
	"golang.org/x/term"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/model/chat"
)

type runCommand struct {
	engineFlags
	Prompt []string `arg:"" optional:"" help:"Prompt; answered once. Standard input is read too when it is piped."`

	System      string   `help:"System message."`
	Temperature *float64 `help:"Sampling temperature; 0 is greedy. The model's own if not given."`
	MaxTokens   int      `short:"n" help:"Tokens to generate at most; 0: the rest of the context."`
	Seed        *uint64  `help:"Seed of the sampling."`
	Think       *bool    `negatable:"" help:"Ask the model to think first, or not to."`
	HideThought bool     `name:"hide-thinking" help:"Do not print the thinking."`
}

// Run answers once if there is a prompt, and chats otherwise.
func (c *runCommand) Run(sig *signals) error {
	log := logger(levelFor(c.LogLevel), c.LogFormat)
	name, err := c.name()
	if err != nil {
		return err
	}
	o, err := c.options(log)
	if err != nil {
		return err
	}
	prompt := strings.Join(c.Prompt, " ")
	piped, err := readStdin()
	if err != nil {
		return err
	}
	if piped = strings.TrimSpace(piped); piped != "" {
		prompt = strings.TrimSpace(prompt + "\n" + piped)
	}
	p := newProgress(log)
	o.Progress = p.report
	eng, err := ullm.Open(sig.context(), name, ullm.With(o))
	p.done()
	if err != nil {
		return err
	}
	if prompt != "" || !term.IsTerminal(int(os.Stdin.Fd())) {
		_, err = c.answer(sig.context(), eng, c.conversation(prompt))
	} else {
		err = c.chat(sig.context(), eng)
	}
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, eng.Close())
}

// levelFor keeps a chat's screen free of lines that only a server's operator wants.
func levelFor(level string) string {
	if level == "info" {
		return "warn"
	}
	return level
}

func (c *runCommand) conversation(prompt string) []chat.Message {
	var m []chat.Message
	if c.System != "" {
		m = append(m, chat.Message{Role: "system", Content: c.System})
	}
	if prompt != "" {
		m = append(m, chat.Message{Role: "user", Content: prompt})
	}
	return m
}

// answer prints one answer as it comes and returns it.
func (c *runCommand) answer(ctx context.Context, eng *ullm.Engine, messages []chat.Message) (string, error) {
	r := ullm.Request{Messages: messages, MaxTokens: c.MaxTokens, Temperature: c.Temperature, Seed: c.Seed}
	if c.Think != nil {
		r.Kwargs = map[string]any{"enable_thinking": *c.Think}
	}
	var text strings.Builder
	thinking := false
	dim := func(on bool) {
		if on != thinking && term.IsTerminal(int(os.Stdout.Fd())) {
			fmt.Print(map[bool]string{true: "\x1b[2m", false: "\x1b[0m\n"}[on])
		}
		thinking = on
	}
	for tok, err := range eng.Generate(ctx, r) {
		if err != nil {
			dim(false)
			return "", err
		}
		if tok.Reasoning != "" && !c.HideThought {
			dim(true)
			fmt.Print(tok.Reasoning)
		}
		if tok.Text != "" {
			dim(false)
			fmt.Print(tok.Text)
			text.WriteString(tok.Text)
		}
	}
	dim(false)
	fmt.Println()
	return text.String(), nil
}

// chat reads lines and answers them until the input ends. Ctrl-C stops an answer, and at an empty prompt the program.
func (c *runCommand) chat(ctx context.Context, eng *ullm.Engine) error {
	line, err := readline.NewFromConfig(&readline.Config{Prompt: "> "})
	if err != nil {
		return err
	}
	defer line.Close()
	fmt.Fprintf(os.Stderr, "%s on %s. /clear forgets the conversation, Ctrl-D ends it.\n", eng.Info().Model, eng.Info().Device.Name)
	messages := c.conversation("")
	for ctx.Err() == nil {
		text, err := line.ReadLine()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, readline.ErrInterrupt) && text == "":
			return nil
		case err != nil:
			continue
		case strings.TrimSpace(text) == "":
			continue
		case strings.TrimSpace(text) == "/clear":
			messages = c.conversation("")
			continue
		}
		messages = append(messages, chat.Message{Role: "user", Content: text})
		answer, err := c.answer(ctx, eng, messages)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			fmt.Fprintln(os.Stderr, err)
			messages = messages[:len(messages)-1]
			continue
		}
		messages = append(messages, chat.Message{Role: "assistant", Content: answer})
	}
	return nil
}

// printTry says how to try the server.
func printTry(url, model string) {
	fmt.Printf("chat page: %s/\n", url)
	fmt.Printf("try: curl %s/v1/chat/completions -H 'Content-Type: application/json' -d '{\"model\":%q,\"messages\":[{\"role\":\"user\",\"content\":\"What is ullm?\"}]}'\n", url, model)
}
