#!/usr/bin/env bash
# Builds .bin/claviger and runs it with the arguments. No Vault and no Postgres is needed, and Node.js only
# for the pages of the admin: demo and dev go on without them.
set -euo pipefail
# shellcheck source=tools/ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

# pages builds the admin's pages while Go compiles what does not embed them.
pages() {
  if "$root/tools/ci/web.sh" fresh; then return; fi
  local others web status=0
  "$root/tools/ci/web.sh" >"$cache/web.out" 2>&1 &
  web=$!
  # shellcheck disable=SC2064 # this job's number
  trap "kill $web 2>/dev/null; exit 130" INT TERM # bash keeps Ctrl-C from jobs
  others=$(go list -deps -f '{{if not .Standard}}{{.ImportPath}}{{end}}' ./services/keys ./services/router ./services/metering |
    grep -v '/services/keys\(/web\)\?$')
  # shellcheck disable=SC2086
  go_build services -p 2 $others
  wait "$web" || status=$?
  trap - INT TERM
  cat "$cache/web.out"
  case $status in
    0 | 3) ;;
    *) return "$status" ;;
  esac
}

check_go
if ! pages; then
  case ${1:-} in
    demo | dev) warn "the pages of the admin could not be built; everything else works" ;;
    *) exit 1 ;;
  esac
fi
go_build claviger -p 2 -o "$bin/claviger" ./tools/cmd/claviger
exec "$bin/claviger" "$@"
