package llmtest

import (
	"encoding/json"
	"strconv"
	"strings"
)

// vendors are the OpenAI-like vendors, by slug. What each does is in the vendors' documents and in
// recordings of their answers.
var vendors = map[string]*vendor{
	"xai": {slug: "xai", models: []string{"grok-4.6", "grok-4.5", "grok-3", "grok-3-mini"}, its: quirks{
		check: notThere("logit_bias"),
		usage: func(c *call, u map[string]any, _ bool) {
			u["completion_tokens"] = c.usage.Output - c.usage.Reasoning
			u["num_sources_used"] = 0
			u["cost_in_usd_ticks"] = CostNano(c.usage) * 10
		},
		atOnce: true,
		failures: map[Failure]wire{
			ErrAuth:          {400, "error", "invalid-argument", "", "Incorrect API key provided: %KEY%. You can obtain an API key from https://console.x.ai."},
			ErrScopes:        {403, "error", "permission-denied", "", "The API key's access list does not allow this endpoint."},
			ErrForbidden:     {403, "error", "permission-denied", "", "The API key is blocked."},
			ErrModel:         {404, "error", "not-found", "", "The model %MODEL% does not exist or your team does not have access to it."},
			ErrRateLimit:     {429, "error", "resource-exhausted", "", "Too many tokens for team. Your team has exceeded its tokens per minute (actual/limit): 10000900/10000000."},
			ErrQuota:         {403, "error", "permission-denied", "", "Your team has either used all available credits or reached its monthly spending limit."},
			ErrSpendLimit:    {429, "error", "resource-exhausted", "", "Your team has either used all available credits or reached its monthly spending limit."},
			ErrBilling:       {403, "error", "personal-team-blocked:spending-limit", "", "You have run out of credits."},
			ErrBadRequest:    {400, "error", "invalid-argument", "", "Invalid request content: temperature must be at most 2."},
			ErrContextLength: {400, "error", "invalid-argument", "", "This model's maximum prompt length is 500000 but the request contains 600000 tokens; its maximum context length is exceeded."},
			ErrServer:        {500, "error", "internal", "", "The service failed."},
			ErrOverloaded:    {503, "error", "unavailable", "", "The service is currently unavailable."},
		},
		failed: func(w wire) any { return map[string]any{"code": w.code, "error": w.message} },
		headers: map[string]string{
			"X-Ratelimit-Limit-Requests": "1800", "X-Ratelimit-Remaining-Requests": "1799",
			"X-Ratelimit-Limit-Tokens": "10000000", "X-Ratelimit-Remaining-Tokens": "9999000", "X-Zero-Data-Retention": "false",
		},
		answers: map[string]any{"/api-key": map[string]any{
			"redacted_api_key": "xai-...abc", "name": "router", "team_id": "team", "user_id": "user", "api_key_id": "key",
			"acls": []string{"api-key:endpoint:*", "api-key:model:*"}, "team_blocked": false, "api_key_blocked": false, "api_key_disabled": false,
		}},
	}},
	"groq": {slug: "groq", models: []string{"openai/gpt-oss-120b", "openai/gpt-oss-20b", "qwen/qwen3-32b"}, its: quirks{
		refuses:  []string{"logprobs", "top_logprobs", "logit_bias", "metadata", "store"},
		messages: []string{"role", "content", "tool_calls", "tool_call_id", "reasoning"},
		usage: func(c *call, u map[string]any, _ bool) {
			u["queue_time"], u["prompt_time"], u["completion_time"], u["total_time"] = 0.01, 0.002, 0.1, 0.102
			if c.usage.Cached == 0 {
				delete(u, "prompt_tokens_details")
			}
		},
		answer: func(c *call, a map[string]any) {
			if a["x_groq"] == nil {
				a["x_groq"] = map[string]any{"id": c.entry.RequestID}
			}
		},
		reasoning: "reasoning", counts: "x_groq", atOnce: true, errorEvent: true,
		failures: map[Failure]wire{
			ErrAuth:       {401, "invalid_request_error", "invalid_api_key", "", "Invalid API Key"},
			ErrScopes:     {403, "permissions_error", "model_permission_blocked_project", "", "The model is blocked at the project level."},
			ErrForbidden:  {403, "permissions_error", "", "", "Access denied. Please check your network settings."},
			ErrTooLarge:   {413, "tokens", "rate_limit_exceeded", "", "Request too large for model `%MODEL%` on tokens per minute (TPM): Limit 8000, Requested 8637, please reduce your message size and try again."},
			ErrRateLimit:  {429, "tokens", "rate_limit_exceeded", "", "Rate limit reached for model `%MODEL%` on tokens per day (TPD): Limit 200000, Used 199500, Requested 900. Please try again in 9m38.016s."},
			ErrSlowDown:   {429, "requests", "rate_limit_exceeded", "", "Rate limit reached on requests per minute (RPM): Limit 30, Used 30, Requested 1. Please try again in 2s."},
			ErrOverloaded: {498, "invalid_request_error", "capacity_exceeded", "", "Flex tier capacity exceeded."},
		},
		headers: map[string]string{
			"X-Ratelimit-Limit-Requests": "1000", "X-Ratelimit-Remaining-Requests": "999", "X-Ratelimit-Reset-Requests": "2m59.56s",
			"X-Ratelimit-Limit-Tokens": "8000", "X-Ratelimit-Remaining-Tokens": "7900", "X-Ratelimit-Reset-Tokens": "7.66s",
		},
	}},
	"mistral": {slug: "mistral", its: quirks{
		only: []string{
			"model", "messages", "stream", "stop", "metadata", "n", "temperature", "top_p", "max_tokens", "random_seed",
			"presence_penalty", "frequency_penalty", "response_format", "tools", "tool_choice", "parallel_tool_calls",
			"prediction", "safe_prompt", "guardrails", "prompt_cache_key", "service_tier", "reasoning_effort", "prompt_mode",
		},
		messages: []string{"role", "content", "tool_calls", "tool_call_id", "name", "prefix"},
		check:    nineCharacters,
		usage: func(_ *call, u map[string]any, _ bool) {
			delete(u, "completion_tokens_details")
			u["num_cached_tokens"] = nil
		},
		answer: func(_ *call, a map[string]any) {
			if a["object"] == "chat.completion.chunk" {
				a["p"] = "abcdefgh" // padding
			}
		},
		reasoning: "parts", counts: "finish", unasked: true, object: true, toolID: "aB3d%05d",
		failures: map[Failure]wire{
			ErrAuth:          {401, "detail", "", "", "Invalid API Key"},
			ErrScopes:        {403, "forbidden", "1100", "", "This workspace may not use this model."},
			ErrForbidden:     {403, "forbidden", "1100", "", "This region may not be served."},
			ErrModel:         {400, "invalid_model", "1500", "", "Invalid model: %MODEL%"},
			ErrRateLimit:     {429, "rate_limited", "1300", "", "Rate limit exceeded"},
			ErrSlowDown:      {429, "engine_max_pending_tokens", "3810", "", "The model has too many pending tokens."},
			ErrContextLength: {400, "invalid_request_error", "3051", "", "Prompt contains 300000 tokens and 0 draft tokens, too large for model with 262144 maximum context length"},
			ErrServer:        {503, "internal_server_error", "3800", "", "The service failed."},
			errUnknownField:  {422, "invalid_request_error", "3001", "", "Extra inputs are not permitted"},
		},
		failed: mistralError,
		headers: map[string]string{
			"X-Ratelimit-Limit-Req-Minute": "60", "X-Ratelimit-Remaining-Req-Minute": "59", "X-Ratelimit-Limit-Tokens-Minute": "500000",
			"X-Ratelimit-Remaining-Tokens-Minute": "499000", "X-Ratelimit-Tokens-Query-Cost": "1000", "Mistral-Correlation-Id": "%ID%",
		},
		answers: map[string]any{"/models": map[string]any{"object": "list", "data": []any{
			mistralModel("mistral-small-latest"), mistralModel("mistral-large-latest"), mistralModel("magistral-medium-latest"),
		}}},
	}},
	"moonshot": {slug: "moonshot", models: []string{"kimi-k3", "kimi-k2.6", "moonshot-v1-8k"}, its: quirks{
		check: kimi,
		usage: func(c *call, u map[string]any, _ bool) {
			delete(u, "prompt_tokens_details")
			u["cached_tokens"] = c.usage.Cached
		},
		counts: "choice", unplaced: true,
		failures: map[Failure]wire{
			ErrAuth:          {401, "invalid_authentication_error", "", "", "Invalid Authentication"},
			ErrScopes:        {403, "permission_denied_error", "", "", "The API you are accessing is not open"},
			ErrForbidden:     {403, "permission_denied_error", "", "", "Your IP address is not on the organization's list."},
			ErrModel:         {404, "resource_not_found_error", "", "", "Not found the model %MODEL% or Permission denied"},
			ErrRateLimit:     {429, "rate_limit_reached_error", "", "", "Your account reached max request per minute, please try again after 20 seconds"},
			ErrSlowDown:      {429, "engine_overloaded_error", "", "", "The engine is currently overloaded, please try again later"},
			ErrQuota:         {429, "exceeded_current_quota_error", "", "", "Your account is suspended due to insufficient balance, please recharge your account"},
			ErrBilling:       {403, "exceeded_current_quota_error", "", "", "Your account is suspended due to insufficient balance, please recharge your account"},
			ErrContextLength: {400, "invalid_request_error", "", "", "Invalid request: Your request exceeded model token limit: 262144"},
			ErrContent:       {400, "content_filter", "", "", "The request was rejected because it was considered high risk"},
			ErrServer:        {500, "server_error", "", "", "The server failed."},
			ErrOverloaded:    {503, "server_unavailable", "", "", "The server is unavailable."},
			ErrTimeout:       {504, "", "", "", "<html><head><title>504 Gateway Time-out</title></head><body></body></html>"},
		},
		failed: func(w wire) any {
			return map[string]any{"error": map[string]any{"type": w.kind, "message": w.message}}
		},
		answers: map[string]any{"/users/me/balance": map[string]any{
			"code": 0, "data": map[string]any{"available_balance": 49.59, "voucher_balance": 46.59, "cash_balance": 3.00}, "scode": "0x0", "status": true,
		}},
	}},
	"perplexity": {slug: "perplexity", its: quirks{
		refuses: []string{"tools", "tool_choice", "max_completion_tokens", "logit_bias", "seed"},
		usage: func(c *call, u map[string]any, last bool) {
			delete(u, "prompt_tokens_details")
			delete(u, "completion_tokens_details")
			u["completion_tokens"], u["total_tokens"] = c.usage.Output-c.usage.Reasoning, c.usage.Input+c.usage.Output-c.usage.Reasoning
			u["search_context_size"] = "low"
			if c.usage.Reasoning > 0 {
				u["reasoning_tokens"] = c.usage.Reasoning
			}
			if cost := map[string]any{"request_cost": 0, "total_cost": 0}; !last {
				u["cost"] = cost
				return
			}
			u["cost"] = map[string]any{"input_tokens_cost": 0.00001, "output_tokens_cost": 0.00001, "request_cost": 0.005, "total_cost": dollars(CostNano(c.usage))}
		},
		answer: func(_ *call, a map[string]any) {
			a["citations"] = []string{"https://one.example/", "https://two.example/"}
			a["search_results"] = []any{
				map[string]any{"title": "One", "url": "https://one.example/", "date": "2026-11-01", "snippet": "first", "source": "web"},
				map[string]any{"title": "Two", "url": "https://two.example/", "date": nil, "snippet": "second", "source": "web"},
			}
		},
		reasoning: "tags", counts: "always", unasked: true, repeats: true, pings: true,
		failures: map[Failure]wire{
			ErrAuth:          {401, "invalid_api_key", "401", "", "Invalid API key provided. You can find your API key at https://www.perplexity.ai/settings/api."},
			ErrQuota:         {401, "insufficient_quota", "401", "", "You exceeded your current quota, please check your plan and billing details."},
			ErrScopes:        {403, "forbidden", "403", "", "This key may not be used here."},
			ErrContextLength: {400, "too_many_prompt_tokens", "400", "", "The prompt has too many tokens."},
			ErrRateLimit:     {429, "rate_limit", "429", "", "Request rate limit exceeded."},
		},
		failed: func(w wire) any {
			code := json.RawMessage("null")
			if w.code != "" && strings.Trim(w.code, "0123456789") == "" {
				code = json.RawMessage(w.code)
			} else if w.code != "" {
				code = json.RawMessage(quote(w.code))
			}
			return map[string]any{"error": map[string]any{"message": w.message, "type": w.kind, "code": code}}
		},
		answers: map[string]any{
			"/async/chat/completions": map[string]any{"next_token": nil, "requests": []any{}},
			"/models":                 map[string]any{"object": "list", "data": []any{map[string]any{"id": "perplexity/sonar"}}},
		},
	}},
	"deepinfra": {slug: "deepinfra", models: []string{"deepseek-ai/DeepSeek-V3.2", "openai/gpt-oss-120b"}, its: quirks{
		refuses: []string{"max_completion_tokens"},
		usage: func(c *call, u map[string]any, _ bool) {
			u["estimated_cost"] = dollars(CostNano(c.usage))
		},
		counts: "finish", unasked: true, pings: true,
		failures: map[Failure]wire{
			ErrAuth:       {401, "invalid_request_error", "", "", "Not authenticated"},
			ErrScopes:     {403, "detail", "", "", "This token may not use this model."},
			ErrModel:      {404, "detail", "", "", "Model %MODEL% not found."},
			ErrQuota:      {402, "detail", "", "", "You need positive balance to do inference. Please add balance manually or setup top-up"},
			ErrBilling:    {402, "detail", "", "", "You need positive balance to do inference. Please add balance manually or setup top-up"},
			ErrRateLimit:  {429, "detail", "", "", "Rate limited"},
			ErrOverloaded: {429, "detail", "", "", "Model busy, retry later"},
			ErrServer:     {500, "text", "", "", "The service failed."},
		},
		failed: func(w wire) any {
			switch w.kind {
			case "detail":
				return map[string]any{"detail": map[string]any{"error": w.message}}
			case "text":
				return map[string]any{"error": w.message}
			}
			return map[string]any{"error": map[string]any{"message": w.message, "type": w.kind, "param": nil, "code": orNil(w.code)}}
		},
		answers: map[string]any{
			"/me":                map[string]any{"uid": "u", "email": "owner@acme.example"},
			"/payment/checklist": map[string]any{"email": true, "billing_address": true, "payment_method": true, "stripe_balance": -20.5, "recent": 1.25, "limit": nil, "suspended": false},
		},
	}},
	"baseten": {slug: "baseten", models: []string{"moonshotai/Kimi-K2.7-Code", "openai/gpt-oss-120b"}, its: quirks{
		failures: map[Failure]wire{
			ErrAuth:       {401, "error", "", "", "Invalid API key"},
			ErrScopes:     {403, "error", "", "", "The workspace may not use this model."},
			ErrForbidden:  {403, "error", "", "", "The workspace is not allowed to do this."},
			ErrModel:      {404, "error", "", "", "Model not found, please check the model you provided."},
			ErrBilling:    {402, "error", "", "", "The workspace has no credits."},
			ErrQuota:      {402, "error", "", "", "The workspace has no credits."},
			ErrRateLimit:  {429, "error", "", "", "Rate limit exceeded."},
			ErrServer:     {500, "error", "", "", "The model failed."},
			ErrOverloaded: {503, "error", "", "", "The model is starting."},
		},
		failed: func(w wire) any { return map[string]any{"error": w.message} },
	}},
}

// mistralModel is an element of Mistral's list of models.
func mistralModel(id string) any {
	return map[string]any{
		"id": id, "object": "model", "created": 1790000000, "owned_by": "mistralai", "type": "base", "aliases": []string{}, "deprecation": nil,
		"capabilities":       map[string]any{"completion_chat": true, "function_calling": true, "reasoning": true, "vision": true, "completion_fim": false, "fine_tuning": false},
		"max_context_length": 262144, "default_model_temperature": 0.3,
	}
}

// CostNano is what a vendor that tells the cost of a call says that it was, in billionths of a dollar.
func CostNano(u Usage) int64 { return int64(u.Input)*2000 + int64(u.Output)*6000 }

// dollars writes billionths as a number of dollars.
func dollars(nano int64) json.Number {
	b, _ := json.Marshal(float64(nano) / 1e9) // a finite number always encodes
	return json.Number(b)
}

// notThere refuses fields in the vendor's own words.
func notThere(names ...string) func(map[string]json.RawMessage, []map[string]json.RawMessage) *wire {
	return func(body map[string]json.RawMessage, _ []map[string]json.RawMessage) *wire {
		for _, name := range names {
			if body[name] != nil {
				return &wire{status: 400, kind: "error", code: "invalid-argument", message: "Argument not supported on this model: " + name}
			}
		}
		return nil
	}
}

// nineCharacters refuses what Mistral does: roles of others, and ids of tool calls that are not nine letters
// and digits.
func nineCharacters(_ map[string]json.RawMessage, messages []map[string]json.RawMessage) *wire {
	bad := func(id string) bool {
		return len(id) != 9 || strings.Trim(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != ""
	}
	for _, m := range messages {
		var one struct {
			Role       string `json:"role"`
			ToolCallID string `json:"tool_call_id"`
			ToolCalls  []struct {
				ID string `json:"id"`
			} `json:"tool_calls"`
		}
		b, _ := json.Marshal(m)
		if err := json.Unmarshal(b, &one); err != nil {
			return &wire{status: 422, kind: "invalid_request_error", message: err.Error()}
		}
		if one.Role == "developer" {
			return &wire{status: 422, kind: "invalid_request_error", code: "3001", param: "role", message: "Input tag 'developer' found using 'role' does not match any of the expected tags"}
		}
		ids := []string{}
		if one.ToolCallID != "" {
			ids = append(ids, one.ToolCallID)
		}
		for _, c := range one.ToolCalls {
			ids = append(ids, c.ID)
		}
		for _, id := range ids {
			if bad(id) {
				return &wire{status: 400, kind: "invalid_request_error", code: "3280", message: "Tool call id was " + id + " but must be a-z, A-Z, 0-9, with a length of 9."}
			}
		}
	}
	return nil
}

// mistralError is one of Mistral's four envelopes.
func mistralError(w wire) any {
	var message any = w.message
	switch {
	case w.kind == "detail":
		return map[string]any{"detail": w.message}
	case w.param != "" && w.status == 422:
		message = map[string]any{"detail": []any{map[string]any{"type": "extra_forbidden", "loc": []string{"body", w.param}, "msg": w.message, "input": nil}}}
	}
	return map[string]any{
		"object": "error", "message": message, "type": w.kind, "param": nil, "code": orNil(w.code), "raw_status_code": w.status,
	}
}

// kimi refuses what Moonshot's models do: how to sample, pictures elsewhere, and tool calls without the
// thinking that led to them.
func kimi(body map[string]json.RawMessage, messages []map[string]json.RawMessage) *wire {
	var model string
	_ = json.Unmarshal(body["model"], &model) // was read before
	if !strings.HasPrefix(model, "kimi-") {
		return nil
	}
	refuse := func(message string) *wire { return &wire{status: 400, kind: "invalid_request_error", message: message} }
	for _, name := range []string{"temperature", "top_p", "presence_penalty", "frequency_penalty"} {
		if body[name] != nil {
			return refuse("invalid " + name + ": only 1 is allowed for this model")
		}
	}
	for i, m := range messages {
		var thought string
		_ = json.Unmarshal(m["reasoning_content"], &thought) // missing is empty
		if m["tool_calls"] != nil && thought == "" {
			return refuse("thinking is enabled but reasoning_content is missing in assistant tool call message at index " + strconv.Itoa(i))
		}
		if strings.Contains(string(m["content"]), `"url":"http`) {
			return refuse("unsupported image url: only data URLs and files are supported")
		}
	}
	return nil
}
