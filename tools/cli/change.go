package cli

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// updating writes with the etag of what was read. When somebody else was faster, it says what they
// changed; nothing is written then, because the person decided on what they saw.
func updating[O proto.Message](what string, read func() (O, error), write func(O) error) error {
	before, err := read()
	if err != nil {
		return err
	}
	err = write(before)
	if reason(err) != "ETAG_MISMATCH" {
		return err
	}
	after, failed := read()
	if failed != nil {
		return err
	}
	conflict := &failure{
		code: "ETAG_MISMATCH", message: what + " was changed by somebody else in this moment; nothing was written",
		hint: "look at it again and repeat the command if it is still right", cause: err,
	}
	if list := changes(before, after); len(list) > 0 {
		conflict.message += ": " + strings.Join(list, "; ")
	}
	return conflict
}

// changes lists the fields that differ, but for those that follow from every change.
func changes(before, after proto.Message) []string {
	var list []string
	a, b := before.ProtoReflect(), after.ProtoReflect()
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch f.Name() {
		case "etag", "version", "update_time", "state_time", "publish_time", "published_by":
			continue
		}
		if f.Message() != nil && f.Message().FullName() == (&keysv1.PolicySpec{}).ProtoReflect().Descriptor().FullName() {
			x, _ := a.Get(f).Message().Interface().(*keysv1.PolicySpec)
			y, _ := b.Get(f).Message().Interface().(*keysv1.PolicySpec)
			for _, change := range ruleChanges(present(a, f, x), present(b, f, y)) {
				if f.Name() == "draft" {
					change = "draft: " + change
				}
				list = append(list, change)
			}
			continue
		}
		if x, y := a.Get(f), b.Get(f); !x.Equal(y) {
			list = append(list, fmt.Sprintf("%s was %s, is %s", strings.ReplaceAll(string(f.Name()), "_", " "), shown(f, x), shown(f, y)))
		}
	}
	return list
}

// present is the value of a field, nil if it is absent.
func present(m protoreflect.Message, f protoreflect.FieldDescriptor, value *keysv1.PolicySpec) *keysv1.PolicySpec {
	if !m.Has(f) {
		return nil
	}
	return value
}

// shown is the value of a field in words.
func shown(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if f.IsList() {
		list := v.List()
		parts := make([]string, list.Len())
		for i := range parts {
			parts[i] = shownOne(f, list.Get(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return shownOne(f, v)
}

func shownOne(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch f.Kind() {
	case protoreflect.StringKind:
		return fmt.Sprintf("%q", v.String())
	case protoreflect.EnumKind:
		if d := f.Enum().Values().ByNumber(v.Enum()); d != nil {
			prefix := strings.TrimSuffix(string(f.Enum().Values().Get(0).Name()), "UNSPECIFIED")
			return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(string(d.Name()), prefix), "_", " "))
		}
	case protoreflect.MessageKind:
		switch m := v.Message().Interface().(type) {
		case *timestamppb.Timestamp:
			return m.AsTime().Local().Format("2006-01-02 15:04:05")
		}
	default:
	}
	return v.String()
}
