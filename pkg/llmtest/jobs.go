package llmtest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync"
)

// jobs are the media jobs of a provider. A job moves on with each question for its state, so that tests
// need no clock: Script.Polls says after how many it is over.
type jobs struct {
	mu   sync.Mutex
	byID map[string]*mediaJob
}

// mediaJob is one job.
type mediaJob struct {
	id, provider, model, key string
	script                   Script
	count, width, height     int
	seconds                  int
	video                    bool
	webhook                  string
	questions                int
	canceled                 bool
	entry                    Entry
}

// defaultPolls is waiting, running, over.
const defaultPolls = 2

// over reports whether the job has ended.
func (j *mediaJob) over() bool {
	polls := j.script.Polls
	if polls == 0 {
		polls = defaultPolls
	}
	return j.canceled || j.questions > polls
}

// fails reports whether it ends badly.
func (j *mediaJob) fails() bool { return j.script.Error != "" && j.script.InStream }

// open adds a job.
func (p *Provider) openJob(j *mediaJob) {
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails, as documented
	j.id = hex.EncodeToString(random[:])
	p.jobs.mu.Lock()
	defer p.jobs.mu.Unlock()
	if p.jobs.byID == nil {
		p.jobs.byID = map[string]*mediaJob{}
	}
	p.jobs.byID[j.id] = j
}

// job finds a job and lets change move it on. It returns a copy.
func (p *Provider) job(provider, id string, change func(*mediaJob)) (mediaJob, bool) {
	p.jobs.mu.Lock()
	defer p.jobs.mu.Unlock()
	j := p.jobs.byID[id]
	if j == nil || j.provider != provider {
		return mediaJob{}, false
	}
	was := j.over()
	change(j)
	if j.over() && !was && !j.canceled && !j.fails() {
		j.entry.Units = j.units()
		p.ledger.amend(&j.entry)
	}
	return *j, true
}

// units are what the job's answer declares, by the names that usage has for them.
func (j *mediaJob) units() map[string]float64 {
	if j.script.NoUsage || j.expired() {
		return nil
	}
	switch j.provider {
	case "pollo":
		return map[string]float64{"credit": float64(j.credits())}
	case "xai":
		return map[string]float64{"second": float64(j.seconds), "usd_tick": float64(j.seconds * tickSecond)}
	}
	if j.video {
		return map[string]float64{"second": float64(j.seconds)}
	}
	pixels := (j.width*j.height + 999_999) / 1_000_000
	return map[string]float64{"image": float64(j.count), "megapixel": float64(j.count * pixels)}
}

// credits is what Pollo takes.
func (j *mediaJob) credits() int { return 6 * j.seconds }

// JobState is what became of a media job, for tests.
type JobState struct {
	Questions      int
	Canceled, Over bool
}

// Job tells of a media job.
func (p *Provider) Job(id string) (JobState, bool) {
	p.jobs.mu.Lock()
	defer p.jobs.mu.Unlock()
	j := p.jobs.byID[id]
	if j == nil {
		return JobState{}, false
	}
	return JobState{j.questions, j.canceled, j.over()}, true
}

// EndJob makes a media job be over at its next question.
func (p *Provider) EndJob(id string) {
	p.jobs.mu.Lock()
	defer p.jobs.mu.Unlock()
	if j := p.jobs.byID[id]; j != nil {
		j.questions = max(j.questions, j.script.Polls, defaultPolls)
	}
}

// mediaFile is what every file of a job holds.
const mediaFile = "\x00\x00\x00\x18ftypmp42 a film of keys"

// filmed reports whether a model makes films, by its name.
func filmed(model string) bool {
	for _, word := range []string{"video", "veo", "h3-max", "seedance", "wan-", "film"} {
		if strings.Contains(model, word) {
			return true
		}
	}
	return false
}

func jsonOf(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of texts and numbers always encode
	}
	return b
}
