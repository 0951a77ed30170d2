#!/usr/bin/env bash
# Builds and vets every module alone: the workspace merges versions of all its modules and so hides a
# go.mod that is not enough, which images and go install would meet.
set -euo pipefail
# shellcheck source=tools/ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

check_go
export GOWORK=off
for module in $(sed -n 's#^[[:space:]]*\./\(.*\)$#\1#p' go.work); do
  printf '    %s\n' "$module"
  (cd "$module" && go mod verify >/dev/null && go build ./... && go vet ./...)
done
