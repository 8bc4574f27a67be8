package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ergochat/readline"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/model/chat"
)

type runCommand struct {
	engineFlags
	Prompt []string `arg:"" optional:"" help:"Prompt; answered once. Standard input is read too when it is piped."`

	System       string   `help:"System message."`
	Temperature  *float64 `help:"Sampling temperature; 0 is greedy. The model's own if not given."`
	MaxTokens    int      `short:"n" help:"Tokens to generate at most; 0: the rest of the context."`
	Seed         *uint64  `help:"Seed of the sampling."`
	Think        *bool    `negatable:"" help:"Ask the model to think first, or not to."`
	HideThinking bool     `help:"Do not print the thinking. It is never printed where stdout is no terminal."`
}

// Run answers once if there is a prompt, and chats otherwise.
func (c *runCommand) Run(sig *signals) error {
	name, args := c.split(c.Prompt)
	prompt, err := readStdin()
	if err != nil {
		return err
	}
	prompt = strings.TrimSpace(strings.Join(args, " ") + "\n" + prompt)
	if prompt == "" && !isTerminal(os.Stdin) {
		return usagef("there is no prompt: give one as argument or on standard input")
	}
	return opening(&c.engineFlags, func(o ullm.Options) (*ullm.Engine, error) {
		return ullm.Open(sig.ctx, name, ullm.With(o))
	}, func(eng *ullm.Engine) error {
		if prompt == "" {
			return c.chat(sig, eng)
		}
		_, err := c.answer(sig.ctx, eng, c.conversation(prompt))
		return err
	})
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

// answer prints one answer as it comes and returns it, as far as it came.
func (c *runCommand) answer(ctx context.Context, eng *ullm.Engine, messages []chat.Message) (string, error) {
	r := ullm.Request{Messages: messages, MaxTokens: c.MaxTokens, Temperature: c.Temperature, Seed: c.Seed}
	if c.Think != nil {
		r.Kwargs = map[string]any{"enable_thinking": *c.Think}
	}
	show := isTerminal(os.Stdout) && !c.HideThinking
	var text strings.Builder
	thinking := false
	enter := func(now bool) { // thinking is dim, and the answer begins on a line of its own
		if now != thinking {
			fmt.Print(map[bool]string{true: "\x1b[2m", false: "\x1b[0m\n\n"}[now])
		}
		thinking = now
	}
	var failure error
	for tok, err := range eng.Generate(ctx, r) {
		if err != nil {
			failure = err
			break
		}
		if tok.Reasoning != "" && show {
			enter(true)
			fmt.Print(tok.Reasoning)
		}
		if tok.Text != "" {
			enter(false)
			fmt.Print(tok.Text)
			text.WriteString(tok.Text)
		}
	}
	enter(false)
	if !strings.HasSuffix(text.String(), "\n") {
		fmt.Println()
	}
	return text.String(), failure
}

// chat reads lines and answers them until the input ends. Ctrl-C stops an answer, forgets a line, and at an empty prompt
// ends the program.
func (c *runCommand) chat(sig *signals, eng *ullm.Engine) error {
	typed := false // since the prompt; an interrupt comes without the line
	line, err := readline.NewFromConfig(&readline.Config{Prompt: "> ", Listener: func(line []rune, _ int, _ rune) ([]rune, int, bool) {
		typed = len(line) > 0
		return nil, 0, false
	}})
	if err != nil {
		return err
	}
	defer line.Close()
	unblock := context.AfterFunc(sig.ctx, func() { line.Close() })
	defer unblock()
	fmt.Fprintf(os.Stderr, "%s on %s. /clear forgets the conversation, Ctrl-D ends it.\n", eng.Info().Model, eng.Info().Device.Name)
	messages := c.conversation("")
	for {
		text, err := line.ReadLine()
		text = strings.TrimSpace(text)
		switch {
		case sig.ctx.Err() != nil, errors.Is(err, io.EOF), errors.Is(err, readline.ErrInterrupt) && !typed:
			return nil
		case errors.Is(err, readline.ErrInterrupt):
			continue
		case err != nil:
			return err
		case text == "":
			continue
		case text == "/clear":
			messages = c.conversation("")
			continue
		}
		messages = append(messages, chat.Message{Role: "user", Content: text})
		ctx, cancel := context.WithCancel(sig.ctx)
		sig.onInterrupt(cancel)
		answer, err := c.answer(ctx, eng, messages)
		sig.onInterrupt(nil)
		stopped := ctx.Err() != nil
		cancel()
		switch {
		case err != nil && !stopped:
			fmt.Fprintln(os.Stderr, err)
			messages = messages[:len(messages)-1]
		case answer == "":
			messages = messages[:len(messages)-1]
		default:
			messages = append(messages, chat.Message{Role: "assistant", Content: answer})
		}
	}
}
