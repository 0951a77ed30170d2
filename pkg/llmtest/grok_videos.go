package llmtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// grokVideos is xAI's form of videos: POST {base}/xai/v1/videos/generations names a request, and
// GET {base}/xai/v1/videos/{id} says how far it is. Nothing cancels one, and nobody is told of its end.
type grokVideos struct{ *vendor }

// XAIURL is xAI's base address, as clients are given it.
func (s *Server) XAIURL() string { return s.URL + "/xai/v1" }

// tickSecond is what a second of film costs, in ten billionths of a dollar.
const tickSecond = 500_000_000

// serveGrokVideos answers what begins with /xai/v1/videos/, and where its films are.
func serveGrokVideos(p *Provider, w http.ResponseWriter, r *http.Request) bool {
	path, ok := strings.CutPrefix(r.URL.Path, "/xai/")
	if !ok {
		return false
	}
	id, isVideo := strings.CutPrefix(path, "v1/videos/")
	switch {
	case strings.HasPrefix(path, "files/"):
		serveFile(w, path)
	case id == "generations" && isVideo:
		p.generateNative(w, r, grokVideos{vendors["xai"]}, "xai")
	case isVideo && !strings.Contains(id, "/"):
		p.grokVideo(w, r, id)
	default:
		return false
	}
	return true
}

func (g grokVideos) headers(c *call) {
	g.vendor.headers(c)
	for _, name := range []string{"Limit", "Remaining"} { // films are no tokens
		c.w.Header().Del("X-Ratelimit-" + name + "-Tokens")
	}
}

func (g grokVideos) check(c *call, raw []byte) (string, *wire) {
	var in struct {
		Prompt      *string `json:"prompt"`
		Duration    *int    `json:"duration"`
		AspectRatio string  `json:"aspect_ratio"`
		Resolution  string  `json:"resolution"`
		Image       *struct {
			URL string `json:"url"`
		} `json:"image"`
	}
	invalid := func(status int, message string) (string, *wire) {
		return "", &wire{status: status, kind: "error", code: "invalid-argument", message: message}
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return invalid(http.StatusUnprocessableEntity, "Failed to deserialize the JSON body into the target type: "+err.Error())
	}
	switch {
	case c.model == "":
		return invalid(http.StatusUnprocessableEntity, "missing field `model`")
	case in.Prompt == nil && in.Image == nil:
		return invalid(http.StatusUnprocessableEntity, "missing field `prompt`")
	case in.Duration != nil && (*in.Duration < 1 || *in.Duration > 15):
		return invalid(http.StatusBadRequest, "duration must be between 1 and 15 seconds")
	case in.Resolution != "" && !slices.Contains([]string{"480p", "720p", "1080p"}, in.Resolution):
		return invalid(http.StatusUnprocessableEntity, "resolution: unknown variant `"+in.Resolution+"`, expected one of `480p`, `720p`, `1080p`")
	case in.AspectRatio != "" && strings.Count(in.AspectRatio, ":") != 1:
		return invalid(http.StatusUnprocessableEntity, "aspect_ratio: unknown variant `"+in.AspectRatio+"`")
	case in.Image != nil && in.Image.URL == "":
		return invalid(http.StatusUnprocessableEntity, "image: missing field `url`")
	}
	c.job = &mediaJob{provider: "xai", model: c.model, key: c.key, video: true, count: 1, seconds: 5}
	if in.Duration != nil {
		c.job.seconds = *in.Duration
	}
	if in.Prompt == nil {
		return "", nil
	}
	return *in.Prompt, nil
}

// whole submits the job.
func (grokVideos) whole(c *call) []byte {
	c.job.script, c.job.entry = c.script, c.entry
	if c.script.Seconds > 0 {
		c.job.seconds = c.script.Seconds
	}
	c.p.openJob(c.job)
	c.entry.Job = c.job.id
	return jsonOf(map[string]any{"request_id": c.job.id})
}

func (grokVideos) stream(*call, *sink) {}

// grokVideo answers a question for a request.
func (p *Provider) grokVideo(w http.ResponseWriter, r *http.Request, id string) {
	form := grokVideos{vendors["xai"]}
	c := p.newNative(w, r, form, "xai")
	if problem := c.admit(http.MethodGet); problem != nil {
		c.refuse(*problem)
		return
	}
	j, ok := p.job("xai", id, func(j *mediaJob) {
		if j.key == c.key {
			j.questions++
		}
	})
	if !ok || j.key != c.key {
		c.refuse(wire{status: http.StatusNotFound, kind: "error", code: "not-found", message: "The requested resource was not found"})
		return
	}
	switch {
	case j.over():
		writeJSON(w, http.StatusOK, j.grokState(c))
	case j.questions <= 1:
		writeJSON(w, http.StatusAccepted, map[string]any{"status": "pending"})
	default:
		writeJSON(w, http.StatusAccepted, map[string]any{"status": "pending", "progress": 40})
	}
}

// expired says that a job's film is no longer there. Only its script makes it so.
func (j *mediaJob) expired() bool { return j.script.Finish == "expired" }

// grokState is how a request has ended.
func (j *mediaJob) grokState(c *call) map[string]any {
	switch {
	case j.fails():
		c.script, c.model = j.script, j.model
		failed := c.failure()
		return map[string]any{"status": "failed", "error": map[string]any{"code": failed.code, "message": failed.message}}
	case j.expired():
		return map[string]any{"status": "expired"}
	}
	film := map[string]any{"url": "http://" + c.r.Host + "/xai/files/" + j.id + ".mp4", "respect_moderation": !j.script.Refusal}
	if j.script.Refusal { // paid for all the same
		film["url"] = ""
	}
	done := map[string]any{"status": "done", "progress": 100, "model": j.model, "video": film}
	if !j.script.NoUsage {
		film["duration"] = j.seconds
		done["usage"] = map[string]any{"cost_in_usd_ticks": j.seconds * tickSecond}
	}
	return done
}
