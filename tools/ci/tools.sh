#!/usr/bin/env bash
# Builds tools into .bin from the modules that pin them: tools.sh [NAME…], all without a name.
# A tool is built again only when its module or its own source has changed.
set -euo pipefail
# shellcheck source=tools/ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export GOWORK=off

all=(buf protoc-gen-go protoc-gen-go-grpc protoc-gen-connect-go protodeps gofumpt gotestsum grpcurl benchstat golangci-lint vaultd)

# where NAME prints the module folder and the package of a tool.
where() {
  case $1 in
    buf) echo tools/pins github.com/bufbuild/buf/cmd/buf ;;
    protoc-gen-go) echo tools/pins google.golang.org/protobuf/cmd/protoc-gen-go ;;
    protoc-gen-go-grpc) echo tools/pins google.golang.org/grpc/cmd/protoc-gen-go-grpc ;;
    protoc-gen-connect-go) echo tools/pins connectrpc.com/connect/v2/cmd/protoc-gen-connect-go ;;
    protodeps) echo tools/pins ./protodeps ;;
    gofumpt) echo tools/pins/dev mvdan.cc/gofumpt ;;
    gotestsum) echo tools/pins/dev gotest.tools/gotestsum ;;
    grpcurl) echo tools/pins/dev github.com/fullstorydev/grpcurl/cmd/grpcurl ;;
    benchstat) echo tools/pins/dev golang.org/x/perf/cmd/benchstat ;;
    golangci-lint) echo tools/pins/lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint ;;
    vaultd) echo tools/vaultd . ;;
    *) die "no tool is called $1; there are: ${all[*]}" ;;
  esac
}

# key FOLDER PACKAGE prints what a built tool depends on: toolchain, pins and, for our own, the source.
key() {
  {
    go env GOVERSION GOOS GOARCH
    cat "$1/go.mod" "$1/go.sum"
    case $2 in .*) cat "$1/$2"/*.go ;; esac
  } | sha256sum | cut -c1-16
}

build() {
  local name=$1 folder package stamp
  read -r folder package < <(where "$name")
  folder=$root/$folder
  stamp=$bin/.$name-$(key "$folder" "$package")
  [ -x "$bin/$name" ] && [ -e "$stamp" ] && return
  rm -f "$bin/.$name-"*
  (cd "$folder" && go_build "$name" -p 2 -trimpath -ldflags '-s -w' -o "$bin/$name" "$package")
  : >"$stamp"
}

check_go
[ $# -gt 0 ] || set -- "${all[@]}"
for name in "$@"; do
  where "$name" >/dev/null
  build "$name"
done
