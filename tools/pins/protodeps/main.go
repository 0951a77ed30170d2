// Command protodeps writes the third-party .proto files that our contracts and clients import, printed from the
// descriptors compiled into pinned Go modules. buf reads the folder as one more local module.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	validate "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var roots = []protoreflect.FileDescriptor{
	validate.File_buf_validate_validate_proto,
	errdetails.File_google_rpc_error_details_proto,
	healthpb.File_grpc_health_v1_health_proto,
}

func main() {
	out, seen, printer := os.Args[1], map[string]bool{}, &protoprint.Printer{Indent: "  "}
	var emit func(protoreflect.FileDescriptor)
	emit = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] || strings.HasPrefix(fd.Path(), "google/protobuf/") { // buf has these built in
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			emit(fd.Imports().Get(i).FileDescriptor)
		}
		text, err := printer.PrintProtoToString(fd)
		name := filepath.Join(out, filepath.FromSlash(fd.Path()))
		if err == nil {
			if err = os.MkdirAll(filepath.Dir(name), 0o755); err == nil {
				err = os.WriteFile(name, []byte(text), 0o644)
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "protodeps:", fd.Path(), err)
			os.Exit(1)
		}
	}
	for _, fd := range roots {
		emit(fd)
	}
}
