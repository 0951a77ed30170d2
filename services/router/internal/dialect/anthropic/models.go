package anthropic

import (
	"time"

	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// Model is one line of the list of models.
type Model struct {
	ID, Name string
	Created  time.Time
}

// AppendModels appends a page of the list of models; more says that another follows.
func AppendModels(dst []byte, models []Model, more bool) []byte {
	dst = append(dst, `{"data":[`...)
	for i, m := range models {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendModel(dst, m)
	}
	dst = append(dst, `],"has_more":`...)
	if more {
		dst = append(dst, "true"...)
	} else {
		dst = append(dst, "false"...)
	}
	if len(models) == 0 {
		return append(dst, `,"first_id":null,"last_id":null}`...)
	}
	dst = append(dst, `,"first_id":`...)
	dst = jsonscan.AppendText(dst, models[0].ID)
	dst = append(dst, `,"last_id":`...)
	dst = jsonscan.AppendText(dst, models[len(models)-1].ID)
	return append(dst, '}')
}

// AppendModel appends one model. Nobody can say when most were made; the first second of time stands for that.
func AppendModel(dst []byte, m Model) []byte {
	dst = append(dst, `{"type":"model","id":`...)
	dst = jsonscan.AppendText(dst, m.ID)
	dst = append(dst, `,"display_name":`...)
	dst = jsonscan.AppendText(dst, m.Name)
	dst = append(dst, `,"created_at":"`...)
	if m.Created.IsZero() {
		m.Created = time.Unix(0, 0)
	}
	dst = m.Created.UTC().AppendFormat(dst, time.RFC3339)
	return append(dst, `"}`...)
}
