package llmtest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// polloForm is Pollo.AI's: POST {base}/pollo/v1/generation/{brand}/{model}/video, then
// GET {base}/pollo/generation/{id}/status.
type polloForm struct{}

// PolloURL is the base address, as clients are given it.
func (s *Server) PolloURL() string { return s.URL + "/pollo" }

// PolloWebhookSecret is what Pollo's webhooks are signed with, as its console shows it.
const PolloWebhookSecret = "whsec_c2NyaXB0ZWQtd2ViaG9vay1zZWNyZXQ=" //nolint:gosec // of the scripted provider

// servePollo answers what begins with /pollo/.
func servePollo(p *Provider, w http.ResponseWriter, r *http.Request) bool {
	path, ok := strings.CutPrefix(r.URL.Path, "/pollo/")
	if !ok {
		return false
	}
	id, isStatus := strings.CutSuffix(strings.TrimPrefix(path, "generation/"), "/status")
	switch {
	case path == "credit/balance":
		p.polloBalance(w, r)
	case strings.HasPrefix(path, "files/"):
		serveFile(w, path)
	case isStatus && r.Method == http.MethodGet && !strings.Contains(id, "/"):
		p.polloStatus(w, r, id)
	default:
		p.generateNative(w, r, polloForm{}, "pollo")
	}
	return true
}

func (polloForm) provider() string           { return "pollo" }
func (polloForm) key(r *http.Request) string { return r.Header.Get("X-Api-Key") }
func (polloForm) headers(*call)              {}

// admit refuses what is not documented.
func (polloForm) admit(c *call) *wire {
	if c.r.Header.Get("Authorization") != "" {
		return &wire{status: 400, kind: "json", code: "BAD_REQUEST", message: "Authorization is not how calls are signed here"}
	}
	return nil
}

func (polloForm) read(c *call, raw []byte) *wire {
	path := strings.TrimPrefix(c.r.URL.Path, "/pollo/")
	path, isV1 := strings.CutPrefix(path, "v1/")
	path, isGeneration := strings.CutPrefix(path, "generation/")
	if isV1 {
		path, isV1 = strings.CutSuffix(path, "/video")
		isGeneration = isGeneration && isV1
	}
	c.model = path
	if !isGeneration || strings.Count(path, "/") != 1 {
		return &wire{status: 404, kind: "json", code: "NOT_FOUND", message: "Not found"}
	}
	if !json.Valid(raw) {
		return &wire{status: 400, kind: "json", code: "BAD_REQUEST", message: "Invalid JSON"}
	}
	return nil
}

func (polloForm) check(c *call, raw []byte) (string, *wire) {
	var in struct {
		WebhookURL string `json:"webhookUrl"`
		Input      *struct {
			Prompt   string          `json:"prompt"`
			Duration json.RawMessage `json:"duration"`
			Length   json.RawMessage `json:"length"`
		} `json:"input"`
	}
	if json.Unmarshal(raw, &in) != nil || in.Input == nil {
		return "", &wire{status: 400, kind: "json", code: "BAD_REQUEST", param: "input", message: "Input validation failed"}
	}
	c.job = &mediaJob{provider: "pollo", model: c.model, key: c.key, video: true, count: 1, seconds: 5, webhook: in.WebhookURL}
	field := in.Input.Duration
	if !strings.Contains(c.r.URL.Path, "/v1/") {
		field = in.Input.Length
	}
	if n := durationOf(field); n > 0 {
		c.job.seconds = n
	}
	return in.Input.Prompt, nil
}

// whole submits the job. Answers are wrapped or not, here by turns.
func (polloForm) whole(c *call) []byte {
	c.job.script, c.job.entry = c.script, c.entry
	if c.script.Seconds > 0 {
		c.job.seconds = c.script.Seconds
	}
	c.p.openJob(c.job)
	c.entry.Job = c.job.id
	return jsonOf(wrapped(c.number, map[string]any{"taskId": c.job.id, "status": "waiting"}))
}

func wrapped(number int64, v map[string]any) map[string]any {
	if number%2 == 0 {
		return v
	}
	return map[string]any{"code": "SUCCESS", "message": "success", "data": v}
}

func (polloForm) stream(*call, *sink) {}

// polloFailures are what Pollo says; those without a kind come from the proxy in front.
var polloFailures = map[Failure]wire{
	ErrAuth:           {401, "json", "UNAUTHORIZED", "", "Invalid API key"},
	ErrScopes:         {403, "json", "FORBIDDEN", "", "No permission for this model"},
	ErrForbidden:      {403, "", "", "", "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head></html>"},
	ErrModel:          {404, "json", "NOT_FOUND", "", "Model not found"},
	ErrRateLimit:      {429, "json", "TOO_MANY_REQUESTS", "", "Too many requests"},
	ErrSlowDown:       {429, "json", "TOO_MANY_REQUESTS", "", "Too many requests"},
	ErrQuota:          {403, "json", "FORBIDDEN", "", "Not enough credits"},
	ErrBilling:        {403, "json", "FORBIDDEN", "", "Not enough credits"},
	ErrSpendLimit:     {403, "json", "FORBIDDEN", "", "Not enough credits"},
	ErrBadRequest:     {400, "json", "BAD_REQUEST", "duration", "Input validation failed"},
	ErrUnsupported:    {400, "json", "BAD_REQUEST", "aspectRatio", "Input validation failed"},
	ErrContextLength:  {400, "json", "BAD_REQUEST", "prompt", "Input validation failed"},
	ErrContent:        {400, "json", "BAD_REQUEST", "prompt", "Input validation failed"},
	ErrTooLarge:       {413, "", "", "", "<html><head><title>413 Request Entity Too Large</title></head></html>"},
	ErrTimeout:        {504, "", "", "", "<html><head><title>504 Gateway Time-out</title></head></html>"},
	ErrServer:         {500, "json", "INTERNAL_SERVER_ERROR", "", "Internal server error"},
	ErrOverloaded:     {503, "json", "SERVICE_UNAVAILABLE", "", "Service unavailable"},
	ErrGatewayHTML:    {502, "", "", "", "<html><head><title>502 Bad Gateway</title></head></html>"},
	ErrOrganizationIP: {403, "", "", "", "<!DOCTYPE html><html><head><title>Access denied</title></head></html>"},
}

func (polloForm) failure(f Failure) wire { return polloFailures[f] }

func (polloForm) envelope(_ *call, w wire) []byte {
	body := map[string]any{"message": w.message, "code": w.code}
	if w.param != "" {
		body["issues"] = []any{map[string]any{"message": w.param + " is invalid"}}
	}
	return jsonOf(body)
}

// polloStatus answers a question for a task.
func (p *Provider) polloStatus(w http.ResponseWriter, r *http.Request, id string) {
	key := r.Header.Get("X-Api-Key")
	if !p.accepts("pollo", key) {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"message": "Invalid API key", "code": "UNAUTHORIZED"})
		return
	}
	j, ok := p.job("pollo", id, func(j *mediaJob) {
		if j.key == key {
			j.questions++
		}
	})
	if !ok || j.key != key {
		writeJSON(w, http.StatusNotFound, map[string]any{"message": "Task not found", "code": "NOT_FOUND"})
		return
	}
	made := map[string]any{"id": "g1", "failMsg": "", "url": "", "mediaType": "video", "createdDate": "2026-11-20T10:00:00Z", "updatedDate": "2026-11-20T10:02:10Z"}
	body := map[string]any{"taskId": id, "generations": []any{made}}
	switch {
	case j.over() && j.fails():
		made["status"], made["failMsg"] = "failed", polloFailures[j.script.Error].message
	case j.over():
		made["status"], made["url"] = "succeed", "http://"+r.Host+"/pollo/files/"+id+".mp4"
		if !j.script.NoUsage {
			body["credit"], body["costUsd"] = j.credits(), float64(j.credits())*0.05
		}
	case j.questions <= 1:
		made["status"] = "waiting"
	default:
		made["status"] = "processing"
	}
	writeJSON(w, http.StatusOK, wrapped(int64(j.questions), body))
}

// polloBalance answers GET /credit/balance. A script in the key can make it fail; one without money has none.
func (p *Provider) polloBalance(w http.ResponseWriter, r *http.Request) {
	c := p.newNative(w, r, polloForm{}, "pollo")
	if problem := c.admit(http.MethodGet); problem != nil {
		c.refuse(*problem)
		return
	}
	credits := 123
	if _, text, ok := splitScript(c.key); ok {
		if !c.playList(text) {
			return
		}
		if c.script.Error != "" {
			credits = 0
		}
	}
	writeJSON(w, http.StatusOK, wrapped(c.number, map[string]any{"availableCredits": credits, "totalCredits": 200}))
}

// PolloWebhook makes the call that tells of a task's end, as Pollo signs it, to where the submit asked for it.
func (p *Provider) PolloWebhook(ctx context.Context, id string, at time.Time) (*http.Request, error) {
	j, ok := p.job("pollo", id, func(*mediaJob) {})
	if !ok || j.webhook == "" {
		return nil, fmt.Errorf("task %s has no webhook", id)
	}
	status := "succeed"
	if j.fails() {
		status = "failed"
	}
	body := jsonOf(map[string]any{"taskId": id, "status": status})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.webhook, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(PolloWebhookSecret, "whsec_"))
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	_, _ = mac.Write([]byte("msg_" + id + "." + stamp + "." + string(body))) // a hash never fails
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Webhook-Id", "msg_"+id)
	req.Header.Set("X-Webhook-Timestamp", stamp)
	req.Header.Set("X-Webhook-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return req, nil
}
