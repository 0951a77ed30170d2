package config

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

const (
	envPrefix = "CLAVIGER_"
	envConfig = envPrefix + "CONFIG"
	fileEnd   = "_FILE"
)

// key is one setting: a field that holds a value, and the fields that lead to it.
type key struct {
	path   []protoreflect.FieldDescriptor
	name   string // "tls.cert_file"
	secret bool
}

func (k *key) field() protoreflect.FieldDescriptor { return k.path[len(k.path)-1] }

// flat is the name without regard to how its words are joined.
func (k *key) flat() string { return flatten(k.name) }

func flatten(name string) string {
	return strings.ToLower(strings.NewReplacer(".", "_", "-", "_").Replace(name))
}

func (k *key) env() string { return envPrefix + strings.ToUpper(k.flat()) }

func (k *key) flag() string { return "--" + k.name }

// fileOnly says that the value is too rich for a line of text.
func (k *key) fileOnly() bool {
	f := k.field()
	switch {
	case f.IsMap():
		return f.MapValue().Message() != nil && !textual(f.MapValue().Message())
	case f.IsList():
		return f.Message() != nil && !textual(f.Message())
	}
	return false
}

// ways says how to set the key.
func (k *key) ways() string {
	switch {
	case k.fileOnly():
		return k.name + " in the file"
	case k.secret:
		return k.env() + fileEnd + " or " + k.env()
	}
	return k.env() + " or " + k.flag()
}

// textual are the messages that are written as one text.
func textual(m protoreflect.MessageDescriptor) bool {
	switch m.FullName() {
	case "google.protobuf.Duration", "google.protobuf.Timestamp",
		"google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue",
		"google.protobuf.Int32Value", "google.protobuf.Int64Value", "google.protobuf.UInt32Value", "google.protobuf.UInt64Value",
		"google.protobuf.FloatValue", "google.protobuf.DoubleValue":
		return true
	}
	return false
}

// isGroup reports whether a field holds further keys and no value of its own.
func isGroup(f protoreflect.FieldDescriptor) bool {
	return f.Message() != nil && !f.IsList() && !f.IsMap() && !textual(f.Message())
}

func redacted(f protoreflect.FieldDescriptor) bool {
	options, ok := f.Options().(*descriptorpb.FieldOptions)
	return ok && options.GetDebugRedact()
}

// keysOf lists the keys of a message in the order of its fields. Two keys that would share a variable
// or a flag are a mistake of the contract.
func keysOf(m protoreflect.MessageDescriptor) ([]*key, error) {
	var keys []*key
	byFlat := map[string]string{"config": "--config", "check": "--check", "help": "--help"}
	var walk func(m protoreflect.MessageDescriptor, path []protoreflect.FieldDescriptor, prefix string, secret bool) error
	walk = func(m protoreflect.MessageDescriptor, path []protoreflect.FieldDescriptor, prefix string, secret bool) error {
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			for _, above := range path {
				if f.Message() != nil && above.Message() == f.Message() {
					return fmt.Errorf("settings %s: %s%s contains itself", m.FullName(), prefix, f.Name())
				}
			}
			here := append(append([]protoreflect.FieldDescriptor(nil), path...), f)
			name, hidden := prefix+string(f.Name()), secret || redacted(f)
			if isGroup(f) {
				if err := walk(f.Message(), here, name+".", hidden); err != nil {
					return err
				}
				continue
			}
			k := &key{path: here, name: name, secret: hidden}
			if other, taken := byFlat[k.flat()]; taken {
				return fmt.Errorf("settings %s: %s and %s would be written alike", m.FullName(), name, other)
			}
			byFlat[k.flat()] = name
			keys = append(keys, k)
		}
		return nil
	}
	if err := walk(m, nil, "", false); err != nil {
		return nil, err
	}
	return keys, nil
}

// nearest returns the candidate that a mistyped name may have meant, or nothing.
func nearest(name string, candidates []string) string {
	best, least := "", max(2, len(name)/4)+1
	for _, c := range candidates {
		if d := distance(flatten(name), flatten(c), least); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to change, add, drop or swap with a neighbour to get from a to b; it is
// limit if they are at least so far apart.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	d := make([][]int, len(a)+1) // d[i][j]: from the first i letters of a to the first j of b
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := d[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return min(limit, d[len(a)][len(b)])
}
