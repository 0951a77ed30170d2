package rpc

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"

	"github.com/claviger/claviger/pkg/fault"
)

// ErrText is a text that no usage can have, since none of it is ever stored.
var ErrText = fault.New(fault.Invalid, "TEXT_INVALID", "the request holds a text with a zero byte").Hinting("remove the zero byte")

// checkTexts refuses zero bytes anywhere in a request: databases have no place for them.
func checkTexts(req proto.Message) error {
	return protorange.Range(req.ProtoReflect(), func(p protopath.Values) error {
		if s, ok := p.Index(-1).Value.Interface().(string); ok && strings.ContainsRune(s, 0) {
			return ErrText.With("field", fieldName(p.Path))
		}
		return nil
	})
}

// fieldName is the field that a path ends in.
func fieldName(path protopath.Path) string {
	for _, f := range slices.Backward(path) {
		if f.Kind() == protopath.FieldAccessStep {
			return string(f.FieldDescriptor().Name())
		}
	}
	return ""
}
