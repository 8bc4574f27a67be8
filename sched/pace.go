package sched

import "time"

// pace bounds the prompt tokens of a step in which other sequences generate, by what steps took: such a step shall take
// no more than stretch times as long as it would without prompts, so that a long prompt does not hold up everyone's next
// token. Where many wait for their first token and few generate, prompts get as many times a plain step's time as there are
// waiting for each that generates: everybody's waiting counts alike, and the sooner a sequence joins, the fewer steps all of
// them take. What it decides changes when tokens come, never which.
//
// It takes a step to cost plain + prompt · (its prompt tokens), and follows both as sequences come, go and grow.
type pace struct {
	stretch float64 // 0: no bound
	plain   float64 // seconds; 0: not known yet
	prompt  float64 // seconds of a unit of prompt tokens; 0: not known yet
}

const (
	firstMixed = 64 // prompt tokens beside others' next ones while nothing is known; the unit of cost
	leastMixed = 16 // so that prompts get on, whatever they cost
)

// observe learns from a step of some tokens, of which some were prompts'.
func (p *pace) observe(tokens, prompts int, took time.Duration) {
	seconds, units := took.Seconds(), float64(prompts)/firstMixed
	switch {
	case tokens == 0:
	case tokens == prompts && p.prompt == 0:
		p.prompt = seconds / units
	case tokens == prompts: // the weights are read for the prompt alone then, so that few tokens say little of the others
		if units >= 1 {
			p.prompt += surprise(seconds/units, p.prompt) / 2
		}
	case p.plain == 0:
		p.plain = max(0, seconds-units*p.prompt)
	case p.prompt == 0 && prompts > 0:
		p.prompt = max(0, seconds-p.plain) / units
	default:
		// Half of the error, shared out as least squares would.
		e := surprise(seconds, p.plain+units*p.prompt) / 2 / (1 + units*units)
		p.plain, p.prompt = max(0, p.plain+e), max(0, p.prompt+units*e)
	}
}

// surprise is how much longer than expected something took; what took far too long, since the machine was busy, counts as
// twice as long.
func surprise(seconds, expected float64) float64 { return min(seconds-expected, expected) }

// mixed is how many prompt tokens the next step may hold beside the next ones of others, of at most limit, where so many
// sequences generate and so many wait for their prompts.
func (p *pace) mixed(limit, generating, waiting int) int {
	switch {
	case p.stretch == 0:
		return limit
	case p.plain == 0 || p.prompt == 0:
		return min(limit, firstMixed)
	}
	share := max(p.stretch-1, float64(waiting)/float64(generating))
	return int(min(float64(limit), max(leastMixed, share*p.plain/p.prompt*firstMixed)))
}
