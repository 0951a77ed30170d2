package gemini

import (
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// thinking says how a model is told to think.
type thinking uint8

const (
	// byLevel: thinkingLevel, one of levels.
	byLevel thinking = iota
	// byBudget: thinkingBudget, a number of tokens.
	byBudget
	// never: does not think, or does not let itself be told.
	never
)

// model is what models of a family can do.
type model struct {
	prefix   string
	thinking thinking
	// levels are those that the model takes, from little to much.
	levels []string
	// minBudget and maxBudget bound a budget; off says that it may be 0.
	minBudget, maxBudget int64
	off                  bool
	// together: takes a schema of the answer together with tools. pictures: takes pictures in the answers
	// of tools. signed: wants the signature of the first tool call of each step back.
	together, pictures, signed bool
	// draws: answers with pictures.
	draws bool
}

var (
	lowHigh = []string{levelLow, levelHigh}
	lowUp   = []string{levelLow, levelMedium, levelHigh}
	all     = []string{levelMinimal, levelLow, levelMedium, levelHigh}
)

// The levels of thinking.
const (
	levelMinimal = "MINIMAL"
	levelLow     = "LOW"
	levelMedium  = "MEDIUM"
	levelHigh    = "HIGH"
)

// models are matched by the longest prefix.
var models = []model{
	{prefix: "gemma-", thinking: never},
	{prefix: "gemini-1", thinking: never},
	{prefix: "gemini-2.0", thinking: never},
	{prefix: "gemini-2.5-pro", thinking: byBudget, minBudget: 128, maxBudget: 32_768},
	{prefix: "gemini-2.5-flash", thinking: byBudget, maxBudget: 24_576, off: true},
	{prefix: "gemini-2.5-flash-lite", thinking: byBudget, minBudget: 512, maxBudget: 24_576, off: true},
	{prefix: "gemini-2.5-flash-image", thinking: never, draws: true},
	{prefix: "gemini-3-pro", levels: lowHigh, together: true, pictures: true, signed: true},
	{prefix: "gemini-3-pro-image", thinking: never, signed: true, draws: true},
	{prefix: "gemini-3-flash", levels: all, together: true, pictures: true, signed: true},
	{prefix: "gemini-3.1-pro", levels: lowUp, together: true, pictures: true, signed: true},
	{prefix: "gemini-3.1-flash-image", thinking: never, signed: true, draws: true},
	{prefix: "gemini-3.1-flash-lite", levels: all, together: true, pictures: true, signed: true},
	{prefix: "gemini-3.1-flash-lite-image", thinking: never, signed: true, draws: true},
	{prefix: "gemini-3.5-flash", levels: all, together: true, pictures: true, signed: true},
}

// newest is for models that are not in the table: 3.6 and later, and names that say no number.
var newest = model{levels: lowUp, together: true, pictures: true, signed: true}

func modelOf(name string) model {
	found := newest
	for _, m := range models {
		if strings.HasPrefix(name, m.prefix) && len(m.prefix) > len(found.prefix) {
			found = m
		}
	}
	if found.prefix == "" && strings.Contains(name, "-image") {
		found.thinking, found.draws = never, true
	}
	return found
}

// Draws reports whether a model answers with pictures.
func Draws(name string) bool { return modelOf(name).draws }

// Embeds reports whether a model makes vectors, and nothing else.
func Embeds(name string) bool { return strings.Contains(name, "embedding") }

// level is the one for an effort, or the next higher one that the model takes; what is higher than all
// is the highest.
func (m *model) level(effort string) string {
	at := map[string]int{"none": 0, "minimal": 0, "low": 1, "medium": 2}
	want, known := at[effort]
	if !known {
		want = 3
	}
	for _, level := range m.levels {
		for i, l := range all {
			if l == level && i >= want {
				return level
			}
		}
	}
	return m.levels[len(m.levels)-1]
}

// budgets are how many tokens an effort is, for models that are given a number.
var budgets = map[string]int64{"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}

// budget is a number of tokens that the model takes.
func (m *model) budget(tokens int64) int64 {
	if tokens < 0 { // as many as it likes
		return -1
	}
	if tokens == 0 && m.off {
		return 0
	}
	return min(max(tokens, m.minBudget), m.maxBudget)
}

// effortBudget is the budget of an effort.
func (m *model) effortBudget(effort string) int64 {
	tokens, known := budgets[effort]
	if !known { // more than high
		tokens = m.maxBudget
	}
	return m.budget(tokens)
}

// budgetLevel is the level of a budget.
func (m *model) budgetLevel(tokens int64) string {
	switch {
	case tokens < 0:
		return ""
	case tokens == 0:
		return m.level("none")
	case tokens <= budgets["low"]:
		return m.level("low")
	case tokens <= budgets["medium"]:
		return m.level("medium")
	}
	return m.level("high")
}

// Serves says why an operation cannot be done with a model, or nothing.
func Serves(op completion.Operation, name string) string {
	switch op {
	case completion.Chat:
		if Embeds(name) {
			return "makes embeddings only"
		}
		if Draws(name) {
			return "answers with pictures: ask for images"
		}
	case completion.CountTokens:
	case completion.Embeddings:
		if !Embeds(name) {
			return "makes no embeddings"
		}
	case completion.Images:
		if !Draws(name) {
			return "draws no pictures"
		}
	case completion.Videos:
		return "is not asked for videos"
	}
	return ""
}
