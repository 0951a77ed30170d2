package videos

import (
	"strconv"
	"time"

	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/media"
)

// Append appends a job as OpenAI's video object. Outputs and usage are members of ours, which SDKs ignore:
// where the files are, and what it took.
func Append(dst []byte, v *media.View) []byte {
	dst = append(dst, `{"id":`...)
	dst = jsonscan.AppendText(dst, v.Token)
	dst = append(dst, `,"object":"video","model":`...)
	dst = jsonscan.AppendText(dst, v.Model)
	dst = append(dst, `,"status":"`...)
	dst = append(dst, statusOf(v.Status)...)
	dst = append(dst, `","progress":`...)
	dst = strconv.AppendInt(dst, int64(v.Progress), 10)
	dst = append(dst, `,"created_at":`...)
	dst = strconv.AppendInt(dst, v.Created.Unix(), 10)
	dst = append(dst, `,"completed_at":`...)
	if v.Status == media.Completed && !v.Ended.IsZero() {
		dst = strconv.AppendInt(dst, v.Ended.Unix(), 10)
	} else {
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"expires_at":null,"remixed_from_video_id":null`...)
	if v.Seconds > 0 {
		dst = append(dst, `,"seconds":"`...)
		dst = strconv.AppendInt(dst, int64(v.Seconds), 10)
		dst = append(dst, '"')
	}
	if v.Size != "" {
		dst = append(dst, `,"size":`...)
		dst = jsonscan.AppendText(dst, v.Size)
	}
	dst = appendError(dst, v)
	dst = appendOutputs(dst, v.Outputs)
	if v.Status.Final() {
		dst = appendUsage(dst, v)
	}
	return append(dst, '}')
}

// statusOf is a status in OpenAI's words, which have none for a job that was canceled.
func statusOf(s media.Status) string {
	if s == media.Canceled {
		return string(media.Failed)
	}
	return string(s)
}

func appendError(dst []byte, v *media.View) []byte {
	dst = append(dst, `,"error":`...)
	code, message := "", ""
	switch {
	case v.Status == media.Canceled:
		code, message = "canceled", "the job was canceled"
	case v.Failure != nil:
		code, message = string(v.Failure.Class), v.Failure.Message
	case v.Status == media.Failed:
		code, message = "failed", "the provider says no reason"
	default:
		return append(dst, "null"...)
	}
	dst = append(dst, `{"code":`...)
	dst = jsonscan.AppendText(dst, code)
	dst = append(dst, `,"message":`...)
	dst = jsonscan.AppendText(dst, message)
	return append(dst, '}')
}

func appendOutputs(dst []byte, outputs []media.Output) []byte {
	for i := range outputs {
		o := &outputs[i]
		if i == 0 {
			dst = append(dst, `,"outputs":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"url":`...)
		dst = jsonscan.AppendText(dst, o.URL)
		if o.MediaType != "" {
			dst = append(dst, `,"media_type":`...)
			dst = jsonscan.AppendText(dst, o.MediaType)
		}
		if o.Width > 0 && o.Height > 0 {
			dst = append(dst, `,"width":`...)
			dst = strconv.AppendInt(dst, int64(o.Width), 10)
			dst = append(dst, `,"height":`...)
			dst = strconv.AppendInt(dst, int64(o.Height), 10)
		}
		if o.Seconds > 0 {
			dst = append(dst, `,"seconds":`...)
			dst = strconv.AppendFloat(dst, o.Seconds, 'f', -1, 64)
		}
		dst = append(dst, '}')
	}
	if len(outputs) > 0 {
		dst = append(dst, ']')
	}
	return dst
}

// appendUsage appends what a job took; what is not known is not there.
func appendUsage(dst []byte, v *media.View) []byte {
	dst = append(dst, `,"usage":{"estimated":`...)
	dst = strconv.AppendBool(dst, v.Estimated)
	for _, u := range v.Units {
		dst = append(dst, ',')
		dst = jsonscan.AppendText(dst, u.Name+"s")
		dst = append(dst, ':')
		dst = strconv.AppendFloat(dst, float64(u.Milli)/1000, 'f', -1, 64)
	}
	if v.CostNanoUSD != nil {
		dst = append(dst, `,"cost_usd":`...)
		dst = strconv.AppendFloat(dst, float64(*v.CostNanoUSD)/1e9, 'f', -1, 64)
	}
	return append(dst, '}')
}

// AppendDeleted appends the answer to a deletion, which cancels.
func AppendDeleted(dst []byte, token string) []byte {
	dst = append(dst, `{"id":`...)
	dst = jsonscan.AppendText(dst, token)
	return append(dst, `,"object":"video.deleted","deleted":true}`...)
}

// PollAfter is how long callers are asked to wait before they ask again.
const PollAfter = 5 * time.Second
