#!/usr/bin/env bash
# Fuzzes every fuzz target of the workspace in turn, each for FUZZTIME (default 20s).
set -euo pipefail
# shellcheck source=tools/ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

check_go
targets=$(grep -rn --include='*_test.go' -E '^func Fuzz[A-Za-z0-9_]+\(' pkg services tools | sed -E 's/^([^:]+):[0-9]+:func (Fuzz[A-Za-z0-9_]+)\(.*/\1 \2/' | sort)
[ -n "$targets" ] || die "there are no fuzz targets"
status=0
while read -r file name; do
  step "$(dirname "$file") $name" go test -run '^$' -fuzz "^$name\$" -fuzzminimizetime 10x -fuzztime "${FUZZTIME:-20s}" "./$(dirname "$file")" || status=1
done <<<"$targets"
summary "fuzzing"
exit "$status"
