package keyform

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
)

// object is a JSON object whose fields are all text.
type object struct {
	at     string // prefix of its fields' names in problems
	fields map[string]string
	// bad are fields that have a problem already.
	bad map[string]bool
}

func (o *object) name(field string) string {
	if o.at == "" {
		return field
	}
	return o.at + "." + field
}

// text returns a field's value, without white space around it: no field's value has any.
func (o *object) text(field string) string { return strings.TrimSpace(o.fields[field]) }

// has reports whether a field is there and not empty.
func (o *object) has(field string) bool { return o.text(field) != "" || o.bad[field] }

// required notes a field that is missing.
func (o *object) required(p *problems, fields ...string) {
	for _, f := range fields {
		if !o.has(f) {
			p.add(o.name(f), "is missing")
		}
	}
}

// secret takes a field that is one.
func (o *object) secret(p *problems, field string) secret.Text {
	value := o.text(field)
	if value != "" && !o.bad[field] {
		p.secret(o.name(field), value)
	}
	return secret.New(value)
}

// readDocument decodes a credential's text into JSON. A JSON string that holds the JSON is taken too.
func readDocument(text secret.Text, p *problems) json.RawMessage {
	raw := []byte(strings.TrimSpace(strings.TrimPrefix(text.Reveal(), "\ufeff")))
	switch {
	case len(raw) == 0:
		p.add("secret", "is missing")
		return nil
	case len(raw) > MaxBytes:
		p.add("secret", "has more than %d bytes", MaxBytes)
		return nil
	}
	if raw[0] == '"' {
		var inner string
		if err := json.Unmarshal(raw, &inner); err == nil {
			raw = []byte(strings.TrimSpace(inner))
		}
	}
	// Scanned, not decoded: what is wrong is told by its place, since the text is secret.
	var whole json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		if at, ok := errors.AsType[*json.SyntaxError](err); ok {
			p.add("secret", "is not JSON: look at byte %d", at.Offset)
		} else {
			p.add("secret", "is not JSON")
		}
		return nil
	}
	return whole
}

// readObject takes an object apart. known are the fields that it may have, ignored are those that are
// harmless and dropped.
func readObject(raw json.RawMessage, at string, known, ignored []string, p *problems) *object {
	o := &object{at: at, fields: map[string]string{}, bad: map[string]bool{}}
	self := at
	if self == "" {
		self = "secret"
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		p.add(self, "is not a JSON object")
		return nil
	}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			p.add(self, "is not a JSON object")
			return nil
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			p.add(self, "is not a JSON object")
			return nil
		}
		if slices.Contains(ignored, name) {
			continue
		}
		if !slices.Contains(known, name) {
			unknown(p, o, self, name, known)
			continue
		}
		if _, twice := o.fields[name]; twice {
			p.add(o.name(name), "is given twice")
			o.bad[name] = true
			continue
		}
		var text *string
		if err := json.Unmarshal(value, &text); err != nil {
			p.add(o.name(name), "is not text")
			o.bad[name] = true
			continue
		}
		if text != nil {
			o.fields[name] = *text
		}
	}
	return o
}

// unknown names a field that nobody knows. What does not look like a field's name may be a secret.
func unknown(p *problems, o *object, self, name string, known []string) {
	if !plainName(name) {
		p.add(self, "has a field that is not known: known are %s", strings.Join(known, ", "))
		return
	}
	for _, k := range known {
		if strings.EqualFold(strings.NewReplacer("_", "", "-", "").Replace(name), strings.ReplaceAll(k, "_", "")) {
			p.add(o.name(name), "is not known: it is written %s", k)
			o.bad[k] = true
			return
		}
	}
	p.add(o.name(name), "is not known: known are %s", strings.Join(known, ", "))
}

func plainName(name string) bool {
	if name == "" || len(name) > 24 {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '_'
	}) < 0
}

// readList takes an array apart.
func readList(raw json.RawMessage, p *problems) []json.RawMessage {
	var list []json.RawMessage
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&list); err != nil && !errors.Is(err, io.EOF) {
		p.add("secret", "is not a JSON array")
		return nil
	}
	return list
}

// write encodes a normal form. It is made of texts alone and cannot fail.
func write(value any) secret.Text {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		panic("keyform: " + err.Error())
	}
	return secret.New(strings.TrimSuffix(out.String(), "\n"))
}
