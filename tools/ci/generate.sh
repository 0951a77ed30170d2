#!/usr/bin/env bash
# Formats and lints the contracts and generates proto/gen from them. With --check it changes nothing
# and fails when the contracts are not formatted or proto/gen is not what they generate.
set -euo pipefail
# shellcheck source=tools/ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

check=false
[ "${1:-}" != --check ] || check=true

"$root/tools/ci/tools.sh" buf protoc-gen-go protoc-gen-go-grpc protoc-gen-connect-go protodeps
# buf keeps its own cache; one beside the others needs no home folder.
export BUF_CACHE_DIR=$cache/buf
protodeps third_party/proto

if ! $check; then
  buf format proto -w
  buf lint
  buf generate
  exit
fi

buf format proto --diff --exit-code || die "the contracts are not formatted: run 'make generate'"
buf lint
out=$(mktemp -d "$cache/generated.XXXXXX")
trap 'rm -rf "$out"' EXIT
buf generate --output "$out"
diff -r -q "$out/proto/gen" proto/gen >&2 || die "proto/gen is not what the contracts generate: run 'make generate' and commit the result"
