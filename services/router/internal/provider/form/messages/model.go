package messages

import "strings"

// thinking says how a model is told to think.
type thinking uint8

const (
	// budgeted: {"type":"enabled","budget_tokens"}, without sampling parameters and forced tools.
	budgeted thinking = iota
	// adaptive: {"type":"adaptive"} with an effort; off unless asked for.
	adaptive
	// byDefault: on unless {"type":"disabled"}.
	byDefault
	// betweenTools: on unless {"type":"between_tools"}.
	betweenTools
	// always: on, and only the effort can be chosen.
	always
	// never: does not think.
	never
)

// model is what models of a family can do.
type model struct {
	prefix    string
	maxOutput int64
	thinking  thinking
	// sampling: takes temperature and top_p, one of them. forced: takes a tool_choice that forces a
	// tool. prefill: continues a last message of the assistant. schemas: takes output_config.format.
	sampling, forced, prefill, schemas bool
}

// models are matched by the longest prefix. Later ones are taken to be like the newest.
var models = []model{
	{prefix: "claude-2", maxOutput: 4096, thinking: never, sampling: true, prefill: true},
	{prefix: "claude-3", maxOutput: 4096, thinking: never, sampling: true, forced: true, prefill: true},
	{prefix: "claude-haiku-4-5", maxOutput: 64_000, thinking: budgeted, sampling: true, forced: true, prefill: true, schemas: true},
	{prefix: "claude-sonnet-4-5", maxOutput: 64_000, thinking: budgeted, sampling: true, forced: true, prefill: true, schemas: true},
	{prefix: "claude-opus-4-5", maxOutput: 64_000, thinking: budgeted, sampling: true, forced: true, prefill: true, schemas: true},
	{prefix: "claude-opus-4-6", maxOutput: 128_000, thinking: adaptive, sampling: true, forced: true, schemas: true},
	{prefix: "claude-sonnet-4-6", maxOutput: 128_000, thinking: adaptive, sampling: true, forced: true, schemas: true},
	{prefix: "claude-opus-4-7", maxOutput: 128_000, thinking: adaptive, forced: true, schemas: true},
	{prefix: "claude-opus-4-8", maxOutput: 128_000, thinking: adaptive, forced: true, schemas: true},
	{prefix: "claude-sonnet-5", maxOutput: 128_000, thinking: adaptive, forced: true, schemas: true},
	{prefix: "claude-haiku-5-5", maxOutput: 128_000, thinking: adaptive, forced: true, schemas: true},
	{prefix: "claude-opus-5", maxOutput: 128_000, thinking: byDefault, forced: true, schemas: true},
	{prefix: "claude-sonnet-5-5", maxOutput: 128_000, thinking: betweenTools, schemas: true},
	{prefix: "claude-opus-5-5", maxOutput: 128_000, thinking: always, schemas: true},
	{prefix: "claude-fable-5", maxOutput: 128_000, thinking: always, forced: true, schemas: true},
	{prefix: "claude-fable-5-1", maxOutput: 128_000, thinking: always, schemas: true},
	{prefix: "claude-fable-5-2", maxOutput: 128_000, thinking: always, schemas: true},
}

// unknown is for models that are not in the table: the rules of the newest, and an output that every
// model allows.
var unknown = model{maxOutput: 4096, thinking: always, schemas: true}

func modelOf(name string) model {
	found := unknown
	for _, m := range models {
		if strings.HasPrefix(name, m.prefix) && len(m.prefix) > len(found.prefix) {
			found = m
		}
	}
	return found
}
