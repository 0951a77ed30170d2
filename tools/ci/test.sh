#!/usr/bin/env bash
# Runs every test against real parts: Postgres, Vault and NATS, and those of the admin's pages in Node.js.
# It installs or builds what it needs, starts one Postgres for all packages and stops it at the end. With
# --race the race detector watches. Other arguments go to go test, such as -run.
set -euo pipefail
# shellcheck source=tools/ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tools/ci/postgres.sh
source "$root/tools/ci/postgres.sh"
cd "$root"

only=''
race=()
flags=()
for argument in "$@"; do
  case $argument in
    --race) race=(-race) ;;
    --unit) only=unit ;;
    --e2e) only=e2e ;;
    *) flags+=("$argument") ;;
  esac
done

results=$cache/test
rm -rf "$results"
mkdir -p "$results"
trap postgres_stop EXIT
trap 'exit 130' INT TERM

# prepare_node installs what the tests with SDKs of JavaScript need, each in its own folder.
prepare_node() {
  local lock folder stamp
  for lock in "$root"/tools/e2e/*/package-lock.json "$root"/tools/examples/*/package-lock.json; do
    [ -e "$lock" ] || continue
    if ! node_is_new && can_install; then install_packages nodejs npm; fi
    node_is_new || die "Node 20 or newer is needed for the SDK tests: install it from https://nodejs.org"
    need npm "it comes with Node"
    folder=$(dirname "$lock")
    stamp=$folder/node_modules/.claviger-$(sha256sum "$lock" | cut -c1-16)
    [ ! -e "$stamp" ] || continue
    say "installing the Node packages of ${folder#"$root"/}"
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund >"$cache/npm.log" 2>&1) ||
      { tail -n 20 "$cache/npm.log" >&2; die "npm ci did not work"; }
    : >"$stamp"
  done
}

# prepare_shells installs the shells whose completion is tested.
prepare_shells() {
  local shell missing=()
  for shell in zsh fish; do
    command -v "$shell" >/dev/null 2>&1 || missing+=("$shell")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    can_install || die "${missing[*]} is needed for the tests of completion: install it with your package manager"
    install_packages "${missing[@]}"
  fi
  export CLAVIGER_TEST_SHELLS="zsh fish"
}

node_is_new() {
  command -v node >/dev/null 2>&1 && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ]
}

prepare() {
  check_go
  prepare_node
  "$root/tools/ci/web.sh"
  "$root/tools/ci/chromium.sh" >"$cache/chromium"
  "$root/tools/ci/tools.sh" gotestsum vaultd grpcurl || die "a tool does not build"
  # The processes of end-to-end tests are watched as the tests are.
  export CLAVIGER_BINARY=$bin/claviger${race[0]:-} CLAVIGER_VAULTD=$bin/vaultd
  go_build claviger -p 2 ${race[@]+"${race[@]}"} -o "$CLAVIGER_BINARY" ./tools/cmd/claviger
  postgres_start
}

# run NAME PACKAGE… runs tests and keeps every result as JSON for the total.
run() {
  local name=$1
  shift
  gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile "$results/$name.json" -- \
    -timeout 20m ${race[@]+"${race[@]}"} ${flags[@]+"${flags[@]}"} "$@"
}

unit() {
  local packages
  # Generated code has no tests; the end-to-end tests follow, alone on the machine.
  packages=$(go list work | grep -v -e '/proto/gen/' -e '/tools/e2e')
  # shellcheck disable=SC2086
  run unit $packages
}

e2e() {
  # One package after the other: each starts whole systems.
  run e2e -p 1 ./tools/e2e/...
}

# count ACTION prints how many tests and subtests ended so.
count() { cat "$results"/*.json 2>/dev/null | grep -c "\"Action\":\"$1\".*\"Test\":" || true; }

step "what the tests need" prepare
status=0
# First, because it makes anew what Go embeds.
[ "$only" = e2e ] || step "the admin's pages" "$root/tools/ci/web.sh" test || status=1
[ "$only" = e2e ] || step "unit and integration tests" unit || status=1
[ "$only" = unit ] || step "end-to-end tests" e2e || status=1

# Whatever a test needs is here, so a skipped one is a mistake.
skipped=$(count skip)
if [ "$skipped" -ne 0 ]; then
  warn "skipped:"
  cat "$results"/*.json | grep '"Action":"skip".*"Test":' | sed 's/.*"Package":"\([^"]*\)".*"Test":"\([^"]*\)".*/    \1 \2/' | sort -u >&2
  status=1
fi
summary "tests"
broken=$(cat "$results"/*.json 2>/dev/null | grep '"Action":"fail"' | grep -vc '"Test":' || true)
[ "$broken" -eq 0 ] || printf '  %s packages failed\n' "$broken"
printf '%s passed, %s failed, %s skipped\n' "$(count pass)" "$(count fail)" "$skipped" | tee "$cache/test-total"
exit "$status"
