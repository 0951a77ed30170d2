package config_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/claviger/claviger/pkg/config"
)

type (
	kind  = descriptorpb.FieldDescriptorProto_Type
	label = descriptorpb.FieldDescriptorProto_Label
)

const (
	one    = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
	many   = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	text   = descriptorpb.FieldDescriptorProto_TYPE_STRING
	nested = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
)

func field(number int32, name string, k kind, l label, typeName string) *descriptorpb.FieldDescriptorProto {
	f := &descriptorpb.FieldDescriptorProto{
		Name: new(name), JsonName: new(name), Number: new(number), Type: k.Enum(), Label: l.Enum(),
	}
	if typeName != "" {
		f.TypeName = new(typeName)
	}
	return f
}

func hidden(f *descriptorpb.FieldDescriptorProto) *descriptorpb.FieldDescriptorProto {
	f.Options = &descriptorpb.FieldOptions{DebugRedact: new(true)}
	return f
}

// build makes a message type Settings of the given fields, beside a few helpers.
func build(t testing.TB, fields ...*descriptorpb.FieldDescriptorProto) protoreflect.MessageDescriptor {
	t.Helper()
	file := &descriptorpb.FileDescriptorProto{
		Name: new("test/settings.proto"), Package: new("test"), Syntax: new("proto3"),
		Dependency: []string{"google/protobuf/duration.proto", "google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"},
		EnumType: []*descriptorpb.EnumDescriptorProto{{Name: new("Mode"), Value: []*descriptorpb.EnumValueDescriptorProto{
			{Name: new("MODE_UNSPECIFIED"), Number: new(int32(0))}, {Name: new("MODE_FAST"), Number: new(int32(1))},
		}}},
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: new("Settings"), Field: fields, NestedType: []*descriptorpb.DescriptorProto{{
				Name: new("CountsEntry"), Options: &descriptorpb.MessageOptions{MapEntry: new(true)},
				Field: []*descriptorpb.FieldDescriptorProto{
					field(1, "key", text, one, ""), field(2, "value", descriptorpb.FieldDescriptorProto_TYPE_INT64, one, ""),
				},
			}}},
			{Name: new("Item"), Field: []*descriptorpb.FieldDescriptorProto{
				field(1, "name", text, one, ""), hidden(field(2, "token", text, one, "")),
				field(3, "on", descriptorpb.FieldDescriptorProto_TYPE_BOOL, one, ""),
			}},
			{Name: new("Loop"), Field: []*descriptorpb.FieldDescriptorProto{field(1, "loop", nested, one, ".test.Loop")}},
		},
		SourceCodeInfo: &descriptorpb.SourceCodeInfo{Location: []*descriptorpb.SourceCodeInfo_Location{{
			Path: []int32{4, 0, 2, 0}, Span: []int32{1, 1, 1}, LeadingComments: new(" fast says\n whether. \n"),
		}}},
	}
	fd, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return fd.Messages().ByName("Settings")
}

func everyKind(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	return build(t,
		field(1, "fast", descriptorpb.FieldDescriptorProto_TYPE_BOOL, one, ""),
		field(2, "mode", descriptorpb.FieldDescriptorProto_TYPE_ENUM, one, ".test.Mode"),
		field(3, "ratio", descriptorpb.FieldDescriptorProto_TYPE_DOUBLE, one, ""),
		field(4, "small", descriptorpb.FieldDescriptorProto_TYPE_UINT32, one, ""),
		field(5, "blob", descriptorpb.FieldDescriptorProto_TYPE_BYTES, one, ""),
		field(6, "since", nested, one, ".google.protobuf.Timestamp"),
		field(7, "maybe", nested, one, ".google.protobuf.BoolValue"),
		field(8, "waits", nested, many, ".google.protobuf.Duration"),
		field(9, "ports", descriptorpb.FieldDescriptorProto_TYPE_INT32, many, ""),
		field(10, "counts", nested, many, ".test.Settings.CountsEntry"),
		field(11, "items", nested, many, ".test.Item"),
		hidden(field(12, "hidden", nested, one, ".test.Item")),
		hidden(field(13, "keys", text, many, "")),
	)
}

func jsonOf(t *testing.T, msg proto.Message) string {
	t.Helper()
	data, err := protojson.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), " ", "")
}

func TestEveryKindOfValueIsWrittenAlikeEverywhere(t *testing.T) {
	t.Parallel()
	m := everyKind(t)
	const want = `{"fast":true,"mode":"MODE_FAST","ratio":0.5,"small":4096,"blob":"AQI=","since":"2026-11-22T10:00:00Z",` +
		`"maybe":false,"waits":["1.500s","60s"],"ports":[1,2],"counts":{"a":"1","b":"2"},"keys":["x","true"]}`
	pairs := []string{
		"fast", "true", "mode", "MODE_FAST", "ratio", "0.5", "small", "4Ki", "blob", "AQI=", "since", "2026-11-22T10:00:00Z",
		"maybe", "false", "waits", "1.5s, 1m", "ports", "1,2", "counts", "a=1, b=2", "keys", "x,true",
	}
	var args, environ []string
	for i := 0; i < len(pairs); i += 2 {
		args = append(args, "--"+pairs[i]+"="+pairs[i+1])
		environ = append(environ, "CLAVIGER_"+strings.ToUpper(pairs[i])+"="+pairs[i+1])
	}
	file := write(t, "s.yaml", `
fast: true
mode: MODE_FAST
ratio: 0.5
small: 4Ki
blob: AQI=
since: 2026-11-22T10:00:00Z
maybe: false
waits: [1.5s, 1m]
ports: [1, 2]
counts: {a: 1, b: 2}
keys: [x, "true"]
`)
	for name, src := range map[string]config.Source{"command line": {Args: args}, "environment": {Environ: environ}, "file": {File: file}} {
		msg := dynamicpb.NewMessage(m)
		if err := config.Load(msg, src); err != nil {
			t.Errorf("Load from %s: %v", name, err)
		} else if got := jsonOf(t, msg); got != want {
			t.Errorf("from %s:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestWrongValueSaysWhatTheKeyTakes(t *testing.T) {
	t.Parallel()
	m := everyKind(t)
	for arg, want := range map[string]string{
		"--fast=yes": "is not true or false", "--mode=SLOW": "is not one of MODE_UNSPECIFIED, MODE_FAST", "--ratio=x": "is not a number",
		"--small=-1": "is not a whole number", "--small=5000000000": "integer is too large", "--blob=!": "is not base64",
		"--since=now": `is not a time such as "2026-11-22T10:00:00Z"`, "--waits=1s,2": `is not a list, with commas, of values, each a duration`,
		"--ports=1,x": "is not a list, with commas, of values, each a whole number", "--counts=a": "is not a list like name=value",
		"--items=x": "can stand in the file only", "--maybe=perhaps": "is not true or false",
	} {
		got := problems(t, dynamicpb.NewMessage(m), config.Source{Args: []string{arg}})
		if len(got) != 1 || !strings.Contains(got[0].What, want) {
			t.Errorf("problems of %s = %v, want %q", arg, got, want)
		}
	}
}

func TestBooleanFlagMayStandAlone(t *testing.T) {
	t.Parallel()
	msg := dynamicpb.NewMessage(everyKind(t))
	if err := config.Load(msg, config.Source{Args: []string{"--fast", "--maybe", "--small=1"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := jsonOf(t, msg), `{"fast":true,"small":1,"maybe":true}`; got != want {
		t.Fatalf("settings = %s, want %s", got, want)
	}
}

func TestStructuresStandInTheFileAndHideTheirSecrets(t *testing.T) {
	t.Parallel()
	m := everyKind(t)
	msg := dynamicpb.NewMessage(m)
	file := write(t, "s.yaml", "items:\n- {name: a, token: "+canary+", on: true}\n- name: b\nhidden: {name: "+canary+"}\nkeys: ["+canary+"]\n")
	if err := config.Load(msg, config.Source{File: file}); err != nil {
		t.Fatal(err)
	}
	got := config.Print(msg)
	want := "items:\n  - name: a\n    token: '[secret]'\n    on: true\n  - name: b\nhidden: '[secret]'\nkeys: '[secret]'\n"
	if got != want {
		t.Errorf("Print =\n%s\nwant\n%s", got, want)
	}
	broken := write(t, "b.yaml", "items:\n- {name: a, tokn: x}\nhidden: {name: [x]}\n")
	problemsOf := problems(t, dynamicpb.NewMessage(m), config.Source{File: broken})
	if len(problemsOf) != 2 || !strings.Contains(problemsOf[0].String(), `b.yaml:1: items: is not a structure: unknown field "tokn"`) {
		t.Errorf("problems = %v", problemsOf)
	}
}

func TestUsageShowsTheCommentsOfTheContract(t *testing.T) {
	t.Parallel()
	got := config.Usage(dynamicpb.NewMessage(everyKind(t)))
	if !strings.Contains(got, "--fast\n      fast says whether.\n      true or false; CLAVIGER_FAST\n") {
		t.Errorf("usage =\n%s", got)
	}
	if !strings.Contains(got, "--items\n      a structure; in the file only\n") {
		t.Errorf("usage =\n%s", got)
	}
}

func TestContractsThatCannotBeWrittenAreRefused(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string][]*descriptorpb.FieldDescriptorProto{
		"written alike": {field(1, "item", nested, one, ".test.Item"), field(2, "item_name", text, one, "")},
		"taken":         {field(1, "config", text, one, "")},
		"endless":       {field(1, "loop", nested, one, ".test.Loop")},
	} {
		if err := config.Load(dynamicpb.NewMessage(build(t, fields...)), config.Source{}); err == nil {
			t.Errorf("Load of settings that are %s succeeded", name)
		}
	}
}

func FuzzFileNeverBreaksLoad(f *testing.F) {
	f.Add("fast: true\nwaits: [1s]\nitems: [{name: a}]\nhidden: {name: b}\n")
	f.Add("a: &a [*a]\n")
	f.Add("counts: {a: {b: c}}\n---\n")
	f.Add("? [x]\n: y\n")
	m := everyKind(f)
	f.Fuzz(func(t *testing.T, text string) {
		msg := dynamicpb.NewMessage(m)
		if err := config.Load(msg, config.Source{File: write(t, "f.yaml", text)}); err != nil {
			_ = err.Error()
		}
		_ = config.Print(msg)
	})
}
