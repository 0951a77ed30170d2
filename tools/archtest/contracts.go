package archtest

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	optionsv1 "github.com/claviger/claviger/proto/gen/claviger/options/v1"
)

// unbounded lists the fields of requests that need no bound of their own, each with what bounds it.
var unbounded = map[protoreflect.FullName]string{
	"claviger.router.v1.Part.text":                  "a prompt may fill the request; max_body_bytes of the router bounds it",
	"claviger.router.v1.Image.data":                 "a picture may fill the request; max_body_bytes of the router bounds it",
	"claviger.router.v1.ToolCall.arguments":         "written by models, so of any length; max_body_bytes of the router bounds it",
	"claviger.router.v1.Message.refusal":            "an earlier answer that is sent back; max_body_bytes of the router bounds it",
	"claviger.router.v1.Message.reasoning":          "an earlier answer that is sent back; max_body_bytes of the router bounds it",
	"claviger.router.v1.Tool.description":           "part of the prompt; max_body_bytes of the router bounds it",
	"claviger.router.v1.Tool.parameters_json":       "part of the prompt; max_body_bytes of the router bounds it",
	"claviger.router.v1.ResponseFormat.schema_json": "part of the prompt; max_body_bytes of the router bounds it",
	"claviger.router.v1.Document.data":              "a document may fill the request; max_body_bytes of the router bounds it",
	"claviger.router.v1.Audio.data":                 "sound may fill the request; max_body_bytes of the router bounds it",
	"claviger.router.v1.EmbedRequest.texts":         "a text may fill the request; max_body_bytes of the router bounds it",
	"claviger.router.v1.ToolCall.signature":         "an earlier answer that is sent back; max_body_bytes of the router bounds it",
	"claviger.router.v1.ReasoningBlock.text":        "an earlier answer that is sent back; max_body_bytes of the router bounds it",
	"claviger.router.v1.ReasoningBlock.signature":   "an earlier answer that is sent back; max_body_bytes of the router bounds it",
	"claviger.router.v1.ReasoningBlock.encrypted":   "an earlier answer that is sent back; max_body_bytes of the router bounds it",
	"claviger.router.v1.Logprobs.tokens":            "an earlier answer that is sent back; max_body_bytes of the router bounds it",
	"claviger.router.v1.TokenLogprob.token":         "an earlier answer that is sent back; max_body_bytes of the router bounds it",
}

// shown lists the fields of answers that hold a secret on purpose.
var shown = map[protoreflect.FullName]string{ //nolint:gosec // names of fields
	"claviger.keys.v1.CreateApiKeyResponse.secret":         "an API key is shown once, to whoever creates it",
	"claviger.keys.v1.SignInResponse.session_token":        "signing in is asking for it",
	"claviger.keys.v1.SignInResponse.access_token":         "signing in is asking for it",
	"claviger.keys.v1.RefreshSessionResponse.access_token": "refreshing is asking for it",
	"claviger.router.v1.Part.text":                         "an answer is what the caller asked for; it is redacted in logs only",
	"claviger.router.v1.Image.data":                        "an answer is what the caller asked for; it is redacted in logs only",
	"claviger.router.v1.ToolCall.arguments":                "an answer is what the caller asked for; it is redacted in logs only",
	"claviger.router.v1.ToolCall.signature":                "an answer is what the caller asked for; it is redacted in logs only",
	"claviger.router.v1.Document.data":                     "an answer is what the caller asked for; it is redacted in logs only",
	"claviger.router.v1.Audio.data":                        "an answer is what the caller asked for; it is redacted in logs only",
	"claviger.router.v1.ReasoningBlock.text":               "an answer is what the caller asked for; it is redacted in logs only",
	"claviger.router.v1.ReasoningBlock.signature":          "an answer is what the caller asked for; it is redacted in logs only",
	"claviger.router.v1.ReasoningBlock.encrypted":          "an answer is what the caller asked for; it is redacted in logs only",
	"claviger.router.v1.TokenLogprob.token":                "an answer is what the caller asked for; it is redacted in logs only",
}

// ContractRule is one rule of the contracts.
type ContractRule struct {
	Name  string
	Why   string
	Check func([]protoreflect.FileDescriptor) []Violation
}

// ContractRules are all rules of the contracts.
var ContractRules = []ContractRule{
	{
		"every method has an access rule",
		"a method without one is refused at run time, and nobody has thought about who may call it",
		accessRules,
	},
	{
		"every text, byte and list field of a request has a bound",
		"what a caller may send without end is a way to exhaust memory and disk",
		bounds,
	},
	{
		"methods that change something take an idempotency key, updates an etag",
		"a retry must not do it twice, and two people must not overwrite each other",
		changes,
	},
	{
		"secrets are redacted and are asked, not told",
		"no method returns a secret but those that are listed",
		secrets,
	},
}

// eachMethod calls visit for the methods of our own services.
func eachMethod(files []protoreflect.FileDescriptor, visit func(protoreflect.MethodDescriptor)) {
	for _, file := range files {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				visit(methods.Get(j))
			}
		}
	}
}

func access(m protoreflect.MethodDescriptor) *optionsv1.Access {
	rule, _ := proto.GetExtension(m.Options(), optionsv1.E_Access).(*optionsv1.Access)
	return rule
}

func accessRules(files []protoreflect.FileDescriptor) []Violation {
	var found []Violation
	eachMethod(files, func(m protoreflect.MethodDescriptor) {
		rule := access(m)
		switch {
		case rule.GetScope() == optionsv1.Scope_SCOPE_UNSPECIFIED:
			found = append(found, Violation{string(m.FullName()), "has no access rule"})
		case (rule.GetScope() == optionsv1.Scope_SCOPE_INTERNAL) != (len(rule.GetServices()) > 0):
			found = append(found, Violation{string(m.FullName()), "names services without being internal, or the other way round"})
		}
	})
	return found
}

// eachField calls visit for the fields of a message and of the messages in it, each once.
func eachField(m protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool, visit func(protoreflect.FieldDescriptor)) {
	if seen[m.FullName()] || !strings.HasPrefix(string(m.FullName()), "claviger.") {
		return
	}
	seen[m.FullName()] = true
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		visit(f)
		switch {
		case f.IsMap():
			if f.MapValue().Message() != nil {
				eachField(f.MapValue().Message(), seen, visit)
			}
		case f.Message() != nil:
			eachField(f.Message(), seen, visit)
		}
	}
}

func bounds(files []protoreflect.FileDescriptor) []Violation {
	var found []Violation
	seen := map[protoreflect.FullName]bool{}
	eachMethod(files, func(m protoreflect.MethodDescriptor) {
		eachField(m.Input(), seen, func(f protoreflect.FieldDescriptor) {
			if _, listed := unbounded[f.FullName()]; listed {
				return
			}
			rules, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
			if problem := unboundedField(f, rules); problem != "" {
				found = append(found, Violation{string(f.FullName()), problem})
			}
		})
	})
	return found
}

// unboundedField says what is missing for f to have a bound, or nothing.
func unboundedField(f protoreflect.FieldDescriptor, rules *validate.FieldRules) string {
	switch {
	case f.IsMap():
		r := rules.GetMap()
		if r == nil || r.MaxPairs == nil {
			return "map without max_pairs"
		}
		if p := unboundedScalar(f.MapKey().Kind(), r.GetKeys()); p != "" {
			return "keys: " + p
		}
		if p := unboundedScalar(f.MapValue().Kind(), r.GetValues()); p != "" {
			return "values: " + p
		}
	case f.IsList():
		r := rules.GetRepeated()
		if r == nil || r.MaxItems == nil {
			return "repeated without max_items"
		}
		if p := unboundedScalar(f.Kind(), r.GetItems()); p != "" {
			return "items: " + p
		}
	default:
		return unboundedScalar(f.Kind(), rules)
	}
	return ""
}

func unboundedScalar(kind protoreflect.Kind, rules *validate.FieldRules) string {
	switch kind {
	case protoreflect.StringKind:
		r := rules.GetString()
		if r != nil && (r.MaxLen != nil || r.MaxBytes != nil || r.Len != nil || r.LenBytes != nil || r.Const != nil ||
			len(r.GetIn()) > 0 || r.Pattern != nil && finite(r.GetPattern())) {
			return ""
		}
		return "string without max_len, max_bytes, in or a bounded pattern"
	case protoreflect.BytesKind:
		r := rules.GetBytes()
		if r != nil && (r.MaxLen != nil || r.Len != nil || r.Const != nil || len(r.GetIn()) > 0) {
			return ""
		}
		return "bytes without max_len"
	default:
		return ""
	}
}

// finite reports whether a pattern is anchored at both ends and matches only texts up to some length.
func finite(pattern string) bool {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || re.Op != syntax.OpConcat || len(re.Sub) < 2 {
		return false
	}
	if re.Sub[0].Op != syntax.OpBeginText || re.Sub[len(re.Sub)-1].Op != syntax.OpEndText {
		return false
	}
	return !endless(re)
}

func endless(re *syntax.Regexp) bool {
	if re.Op == syntax.OpStar || re.Op == syntax.OpPlus || re.Op == syntax.OpRepeat && re.Max < 0 {
		return true
	}
	return slices.ContainsFunc(re.Sub, endless)
}

// changing are the verbs of methods that change something.
var changing = []string{"Create", "Update", "Delete", "Rotate", "Revoke", "Change"}

func changes(files []protoreflect.FileDescriptor) []Violation {
	var found []Violation
	eachMethod(files, func(m protoreflect.MethodDescriptor) {
		name := string(m.Name())
		if !slices.ContainsFunc(changing, func(verb string) bool { return strings.HasPrefix(name, verb) }) {
			return
		}
		if m.Input().Fields().ByName("idempotency_key") == nil {
			found = append(found, Violation{string(m.FullName()), "takes no idempotency_key"})
		}
		if strings.HasPrefix(name, "Update") && m.Input().Fields().ByName("etag") == nil {
			found = append(found, Violation{string(m.FullName()), "takes no etag"})
		}
	})
	return found
}

func secrets(files []protoreflect.FileDescriptor) []Violation {
	var found []Violation
	asked, told := map[protoreflect.FullName]bool{}, map[protoreflect.FullName]bool{}
	check := func(f protoreflect.FieldDescriptor) {
		if looksSecret(f) && !redacted(f) {
			found = append(found, Violation{string(f.FullName()), "looks like a secret and is not debug_redact"})
		}
	}
	eachMethod(files, func(m protoreflect.MethodDescriptor) {
		eachField(m.Input(), asked, check)
		eachField(m.Output(), told, func(f protoreflect.FieldDescriptor) {
			check(f)
			if redacted(f) && shown[f.FullName()] == "" {
				found = append(found, Violation{string(f.FullName()), "an answer holds a secret and is not listed"})
			}
		})
	})
	return found
}

func looksSecret(f protoreflect.FieldDescriptor) bool {
	name := string(f.Name())
	place := strings.HasSuffix(name, "page_token") || name == "resume_token" // says where to go on, and grants nothing
	return f.Kind() == protoreflect.StringKind && !place &&
		(name == "secret" || strings.HasSuffix(name, "_secret") || strings.HasSuffix(name, "password") || strings.HasSuffix(name, "_token"))
}

func redacted(f protoreflect.FieldDescriptor) bool {
	options, _ := f.Options().(*descriptorpb.FieldOptions)
	return options.GetDebugRedact()
}

func describe(rule, why string, found []Violation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rule: %s\n      (%s)\n", rule, why)
	for _, v := range found {
		fmt.Fprintf(&b, "  %s\n", v)
	}
	return b.String()
}
