package sched

import (
	"errors"
	"fmt"
	"math"

	"github.com/ullm/ullm/tensor"
)

// Request asks for one continuation of a prompt.
type Request struct {
	Prompt    []int32
	MaxTokens int // tokens to generate at most; at least 1
	MinTokens int // Stop ids are forbidden before this many tokens
	Sampling  tensor.Sampling
	Stop      []int32 // ids that end the answer; they are reported like other tokens, with FinishStop
	Bias      []Bias
	Priority  int // larger goes first; equal ones in order of arrival

	Top            int  // how many of the most likely tokens to report with each token
	PromptLogprobs bool // report logprobs of the prompt's tokens; its cached prefix is then not used
}

// Bias is added to the logit of one token.
type Bias struct {
	ID    int32
	Value float32
}

// biases are the request's biases as the device has them, those that keep MinTokens included.
func (r *Request) biases(slot int32) []tensor.BiasWrite {
	var w []tensor.BiasWrite
	for _, b := range r.Bias {
		w = append(w, tensor.BiasWrite{Slot: slot, ID: b.ID, Value: b.Value, Until: math.MaxInt32})
	}
	if r.MinTokens > 0 {
		until := int32(len(r.Prompt) + min(r.MinTokens, math.MaxInt32-len(r.Prompt)))
		for _, id := range r.Stop {
			w = append(w, tensor.BiasWrite{Slot: slot, ID: id, Value: float32(math.Inf(-1)), Until: until})
		}
	}
	return w
}

// Finish says why an answer ended.
type Finish uint8

// The reasons for an end.
const (
	Unfinished   Finish = iota
	FinishStop          // a stop id was drawn
	FinishLength        // MaxTokens, or the context is full
)

// Event is what a Stream delivers.
type Event struct {
	Sampled tensor.Sampled // the token, or for Prompt what was asked about the prompt's token
	Prompt  bool           // logprobs of the prompt's token Index (from 1 on) in AskLogprob, AskRank and the Top lists
	Index   int
	Cached  int    // prompt tokens whose keys and values were found in the prefix cache, in the first token's event
	Finish  Finish // on the last event
}

// The errors of Submit, and those with which a Stream can end besides the engine's own.
var (
	ErrQueueFull = errors.New("sched: the queue is full")
	ErrDraining  = errors.New("sched: shutting down")
	ErrCut       = errors.New("sched: shut down before the answer was complete")
	ErrAborted   = errors.New("sched: request aborted")
	ErrSlow      = errors.New("sched: the reader is too slow")
	ErrTooLong   = errors.New("sched: the prompt is longer than the context")
)

// TooMany tells that more requests were submitted together than may ever wait.
type TooMany struct{ Requests, Queue int }

func (e *TooMany) Error() string {
	return fmt.Sprintf("sched: %d requests at once, and the queue holds %d", e.Requests, e.Queue)
}
