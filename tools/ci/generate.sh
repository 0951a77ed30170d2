#!/usr/bin/env bash
# Formats and lints the contracts and generates code from them: proto/gen in Go, and clients in
# TypeScript where Node.js is there. With --check it changes nothing and fails when the contracts are
# not formatted or the generated code is not what they generate.
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

# Folders with a buf.gen.yaml of their own, which generate TypeScript into src/gen.
typescript=()
for folder in services/keys/web tools/examples/typescript; do
  code=0
  tools/ci/node.sh "$folder" || code=$?
  case $code in
    0) typescript+=("$folder") ;;
    3) ;;
    *) exit "$code" ;;
  esac
done

if ! $check; then
  buf format proto -w
  buf lint
  buf generate
  for folder in "${typescript[@]}"; do buf generate --template "$folder/buf.gen.yaml"; done
  exit
fi

buf format proto --diff --exit-code || die "the contracts are not formatted: run 'make generate'"
buf lint
out=$(mktemp -d "$cache/generated.XXXXXX")
trap 'rm -rf "$out"' EXIT
buf generate --output "$out"
diff -r -q "$out/proto/gen" proto/gen >&2 || die "proto/gen is not what the contracts generate: run 'make generate' and commit the result"
for folder in "${typescript[@]}"; do
  buf generate --template "$folder/buf.gen.yaml" --output "$out"
  diff -r -q "$out/$folder/src/gen" "$folder/src/gen" >&2 || die "$folder/src/gen is not what the contracts generate: run 'make generate' and commit the result"
done
