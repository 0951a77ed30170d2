package llmtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// falForm is fal's queue: POST {base}/fal/{owner}/{app}[/…], and then
// {base}/fal/{owner}/{app}/requests/{id}[/status|/cancel]. The sub-path of a model is not in the latter.
type falForm struct{}

// FalURL is the base address of the queue, as clients are given it.
func (s *Server) FalURL() string { return s.URL + "/fal" }

// falKey signs webhooks.
var falKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

// serveFal answers what begins with /fal/.
func serveFal(p *Provider, w http.ResponseWriter, r *http.Request) bool {
	path, ok := strings.CutPrefix(r.URL.Path, "/fal/")
	if !ok {
		return false
	}
	before, id, isRequest := strings.Cut(path, "/requests/")
	switch {
	case path == ".well-known/jwks.json":
		keys := []any{}
		for _, private := range []ed25519.PrivateKey{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize)), falKey} {
			public, _ := private.Public().(ed25519.PublicKey)
			keys = append(keys, map[string]any{"kty": "OKP", "crv": "Ed25519", "use": "sig", "x": base64.RawURLEncoding.EncodeToString(public)})
		}
		writeJSON(w, http.StatusOK, map[string]any{"keys": keys})
	case strings.HasPrefix(path, "files/"):
		serveFile(w, path)
	case path == "v1/models/pricing":
		p.falPricing(w, r)
	case isRequest && strings.Count(before, "/") == 1:
		p.falRequest(w, r, id)
	default:
		p.generateNative(w, r, falForm{}, "fal")
	}
	return true
}

func serveFile(w http.ResponseWriter, path string) {
	kind := "video/mp4"
	if strings.HasSuffix(path, ".png") {
		kind = "image/png"
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write([]byte(mediaFile)) // the client may be gone
}

func (falForm) provider() string { return "fal" }

func (falForm) key(r *http.Request) string {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Key ")
	if !ok {
		return ""
	}
	return key
}

func (falForm) headers(c *call) { c.w.Header().Set("X-Fal-Request-Id", c.entry.RequestID) }

// admit checks the form of a key.
func (falForm) admit(c *call) *wire {
	key, _, _ := splitScript(c.key)
	if !strings.Contains(key, ":") {
		return &wire{status: 401, kind: "detail", message: "Invalid Key Authorization header format. Expected '<key_id>:<key_secret>'."}
	}
	return nil
}

func (falForm) read(c *call, raw []byte) *wire {
	c.model = strings.TrimPrefix(c.r.URL.Path, "/fal/")
	if !json.Valid(raw) {
		return &wire{status: 422, kind: "json_invalid", param: "body", message: "JSON decode error"}
	}
	return nil
}

// falInput is what is read of an input.
type falInput struct {
	Prompt    *string         `json:"prompt"`
	NumImages int             `json:"num_images"`
	ImageSize json.RawMessage `json:"image_size"`
	Duration  json.RawMessage `json:"duration"`
}

func (falForm) check(c *call, raw []byte) (string, *wire) {
	var in falInput
	if err := json.Unmarshal(raw, &in); err != nil {
		return "", &wire{status: 422, kind: "type_error", param: "body", message: err.Error()}
	}
	if in.Prompt == nil {
		return "", &wire{status: 422, kind: "missing", param: "prompt", message: "Field required"}
	}
	c.job = &mediaJob{
		provider: "fal", model: c.model, key: c.key, video: filmed(c.model), count: max(1, in.NumImages),
		width: 1024, height: 768, seconds: 5, webhook: c.r.URL.Query().Get("fal_webhook"),
	}
	var size struct{ Width, Height int }
	if json.Unmarshal(in.ImageSize, &size) == nil && size.Width > 0 {
		c.job.width, c.job.height = size.Width, size.Height
	}
	if n := durationOf(in.Duration); n > 0 {
		c.job.seconds = n
	}
	return *in.Prompt, nil
}

// durationOf reads 5, "5" and "5s".
func durationOf(raw json.RawMessage) int {
	n, err := strconv.Atoi(strings.TrimSuffix(strings.Trim(string(raw), `"`), "s"))
	if err != nil {
		return 0
	}
	return n
}

// whole submits the job.
func (falForm) whole(c *call) []byte {
	c.job.script, c.job.entry = c.script, c.entry
	if c.script.Seconds > 0 {
		c.job.seconds = c.script.Seconds
	}
	c.p.openJob(c.job)
	c.entry.Job = c.job.id
	at := c.job.falURL(c.r)
	return jsonOf(map[string]any{
		"request_id": c.job.id, "gateway_request_id": c.job.id, "status": "IN_QUEUE", "queue_position": 0,
		"response_url": at, "status_url": at + "/status", "cancel_url": at + "/cancel",
	})
}

func (falForm) stream(*call, *sink) {}

func (j *mediaJob) falURL(r *http.Request) string {
	parts := strings.SplitN(j.model, "/", 3)
	return "http://" + r.Host + "/fal/" + strings.Join(parts[:min(2, len(parts))], "/") + "/requests/" + j.id
}

// falFailures are what fal says. A kind of "detail" is a text in detail, one of "request" has an error_type
// besides, and any other is the type of an entry in a list.
var falFailures = map[Failure]wire{
	ErrAuth:           {401, "detail", "", "", "No user found for Key ID and Secret"},
	ErrScopes:         {403, "detail", "", "", "Access denied to this endpoint"},
	ErrForbidden:      {403, "detail", "", "", "User is locked. Reason: Admin lock. Please contact support@fal.ai"},
	ErrModel:          {404, "detail", "", "", "Application \"%MODEL%\" not found"},
	ErrRateLimit:      {429, "request", "concurrent_requests_limit", "", "Reached the limit of concurrent requests"},
	ErrQuota:          {403, "detail", "", "", "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."},
	ErrBilling:        {403, "detail", "", "", "User is locked. Reason: TOP_UP."},
	ErrBadRequest:     {422, "greater_than", "", "num_images", "Input should be greater than 0"},
	ErrContent:        {422, "content_policy_violation", "", "prompt", "The content could not be processed because it was flagged by a content checker."},
	ErrTooLarge:       {413, "detail", "", "", "Request body too large"},
	ErrTimeout:        {504, "request", "request_timeout", "", "Request timed out"},
	ErrServer:         {500, "detail", "", "", "Internal Server Error"},
	ErrOverloaded:     {503, "request", "runner_scheduling_failure", "", "No runner is available"},
	ErrGatewayHTML:    {502, "", "", "", "<html><head><title>502 Bad Gateway</title></head></html>"},
	ErrUnsupported:    {422, "extra_forbidden", "", "style", "Extra inputs are not permitted"},
	ErrSlowDown:       {429, "detail", "", "", "Too many requests"},
	ErrSpendLimit:     {403, "detail", "", "", "User is locked. Reason: Exhausted balance."},
	ErrOrganizationIP: {403, "detail", "", "", "Forbidden"},
	ErrContextLength:  {422, "string_too_long", "", "prompt", "String should have at most 5000 characters"},
}

func (falForm) failure(f Failure) wire { return falFailures[f] }

// envelope puts a text or a list into detail.
func (falForm) envelope(c *call, w wire) []byte {
	switch w.kind {
	case "detail":
		return jsonOf(map[string]any{"detail": w.message})
	case "request":
		c.w.Header().Set("X-Fal-Error-Type", w.code)
		return jsonOf(map[string]any{"detail": w.message, "error_type": w.code})
	}
	return jsonOf(map[string]any{"detail": []any{map[string]any{"loc": []any{"body", w.param}, "msg": w.message, "type": w.kind}}})
}

// falRequest answers questions for a job: "{id}", "{id}/status" and "{id}/cancel".
func (p *Provider) falRequest(w http.ResponseWriter, r *http.Request, rest string) {
	id, what, _ := strings.Cut(rest, "/")
	key := falForm{}.key(r)
	if !p.accepts("fal", key) || !strings.Contains(key, ":") {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"detail": "No user found for Key ID and Secret"})
		return
	}
	canceled := false
	j, ok := p.job("fal", id, func(j *mediaJob) {
		switch {
		case j.key != key:
		case what == "status":
			j.questions++
		case what == "cancel" && r.Method == http.MethodPut && !j.over():
			j.canceled, canceled = true, true
		}
	})
	switch {
	case !ok || j.key != key:
		writeJSON(w, http.StatusNotFound, map[string]any{"detail": "Request not found"})
	case what == "status" && r.Method == http.MethodGet:
		j.falStatus(w, r)
	case what == "cancel" && r.Method == http.MethodPut:
		if !canceled {
			writeJSON(w, http.StatusBadRequest, map[string]any{"status": "ALREADY_COMPLETED"})
			return
		}
		writeJSON(w, http.StatusAccepted, map[string]any{"status": "CANCELLATION_REQUESTED"})
	case what == "" && r.Method == http.MethodGet:
		j.falResult(w, r)
	default:
		writeJSON(w, http.StatusMethodNotAllowed, map[string]any{"detail": "Method Not Allowed"})
	}
}

func (j *mediaJob) falStatus(w http.ResponseWriter, r *http.Request) {
	at := j.falURL(r)
	body := map[string]any{"request_id": j.id, "response_url": at, "status_url": at + "/status", "cancel_url": at + "/cancel"}
	code := http.StatusAccepted
	switch {
	case j.over():
		code = http.StatusOK
		body["status"], body["metrics"] = "COMPLETED", map[string]any{"inference_time": 1.5}
		if j.fails() {
			body["error"], body["error_type"] = falFailures[j.script.Error].message, falFailures[j.script.Error].code
		}
	case j.questions <= 1:
		body["status"], body["queue_position"] = "IN_QUEUE", 0
	default:
		body["status"], body["logs"] = "IN_PROGRESS", []any{}
	}
	writeJSON(w, code, body)
}

// falResult is the model's output, or the status of its failure.
func (j *mediaJob) falResult(w http.ResponseWriter, r *http.Request) {
	switch {
	case j.canceled:
		writeJSON(w, http.StatusBadRequest, map[string]any{"detail": "Request was cancelled"})
		return
	case !j.over():
		writeJSON(w, http.StatusBadRequest, map[string]any{"detail": "Request is still in progress"})
		return
	case j.fails():
		c := &call{w: w, r: r, native: falForm{}, script: j.script, model: j.model, key: j.key}
		c.refuse(c.failure())
		return
	}
	w.Header().Set("X-Fal-Request-Id", j.id)
	writeJSON(w, http.StatusOK, j.falOutput("http://"+r.Host+"/fal/files/"+j.id))
}

func (j *mediaJob) falOutput(file string) map[string]any {
	if j.video {
		video := map[string]any{"url": file + ".mp4", "content_type": "video/mp4", "file_name": "output.mp4", "file_size": len(mediaFile)}
		if !j.script.NoUsage {
			video["duration"], video["width"], video["height"], video["fps"] = j.seconds, 1280, 720, 24
		}
		return map[string]any{"video": video, "seed": 42}
	}
	images, flags := []any{}, []bool{}
	for i := range j.count {
		image := map[string]any{"url": file + "-" + strconv.Itoa(i) + ".png", "content_type": "image/png"}
		if !j.script.NoUsage {
			image["width"], image["height"] = j.width, j.height
		}
		images, flags = append(images, image), append(flags, j.script.Refusal)
	}
	return map[string]any{"images": images, "seed": 42, "timings": map[string]any{"inference": 1.5}, "has_nsfw_concepts": flags, "prompt": "…"}
}

// falPricing answers GET /v1/models/pricing. A script in the key can make it fail.
func (p *Provider) falPricing(w http.ResponseWriter, r *http.Request) {
	c := p.newNative(w, r, falForm{}, "fal")
	if problem := c.admit(http.MethodGet); problem != nil {
		c.refuse(*problem)
		return
	}
	if _, text, ok := splitScript(c.key); ok && !c.playList(text) {
		return
	}
	prices := []any{}
	for _, id := range r.URL.Query()["endpoint_id"] {
		prices = append(prices, map[string]any{"endpoint_id": id, "unit_price": 0.025, "unit": "megapixels", "currency": "USD"})
	}
	writeJSON(w, http.StatusOK, map[string]any{"prices": prices, "has_more": false, "next_cursor": nil})
}

// FalWebhook makes the call that tells of a job's end, as fal signs it, to where the submit asked for it.
func (p *Provider) FalWebhook(ctx context.Context, id string, at time.Time) (*http.Request, error) {
	j, ok := p.job("fal", id, func(*mediaJob) {})
	if !ok || j.webhook == "" {
		return nil, fmt.Errorf("job %s has no webhook", id)
	}
	if _, err := url.Parse(j.webhook); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	body := jsonOf(map[string]any{"request_id": id, "gateway_request_id": id, "status": "OK", "payload": j.falOutput("https://v3.fal.media/files/" + id)})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.webhook, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	sum := sha256.Sum256(body)
	message := id + "\nuser-llmtest\n" + stamp + "\n" + hex.EncodeToString(sum[:])
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Fal-Webhook-Request-Id", id)
	req.Header.Set("X-Fal-Webhook-User-Id", "user-llmtest")
	req.Header.Set("X-Fal-Webhook-Timestamp", stamp)
	req.Header.Set("X-Fal-Webhook-Signature", hex.EncodeToString(ed25519.Sign(falKey, []byte(message))))
	return req, nil
}
