#!/usr/bin/env bash
# The pages of the admin: web.sh [build|check|test|fresh]. build makes services/keys/web/dist, which Go
# embeds, if its sources have changed; fresh only says whether that is needed. Ends with 3 when there is
# no Node.js: everything else works without, and keys serves a page that says what is missing.
set -euo pipefail
# shellcheck source=tools/ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

colors=()
[ -t 1 ] || colors=(-- --colors=off)
folder=services/keys/web
oldest=20.19
cd "$root/$folder"

# sources prints what the pages are made of, as one hash.
sources() {
  find . \( -name node_modules -o -path ./dist -o -path ./placeholder -o -name '*.go' -o -name '*.md' \) -prune -o -type f -print0 |
    sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16
}

# The stamp lies in dist, so that whoever else builds there takes it away.
fresh() { [ -e dist/index.html ] && [ "$(cat dist/.stamp 2>/dev/null)" = "$(sources)" ]; }

need_node() {
  local version
  if command -v npm >/dev/null && version=$(node -p process.versions.node 2>/dev/null) &&
    [ "$(printf '%s\n%s\n' "$version" "$oldest" | sort -V | head -n1)" = "$oldest" ]; then
    return
  fi
  warn "Node.js $oldest or newer is not on this machine (https://nodejs.org): the admin's pages are left as they are"
  exit 3
}

# quietly COMMAND… shows what a command says only if it fails.
quietly() {
  "$@" >"$cache/web.log" 2>&1 || { tail -n 40 "$cache/web.log" >&2; die "$folder: \"$*\" did not work"; }
}

build() {
  if fresh; then return; fi
  need_node
  "$root/tools/ci/node.sh" "$folder"
  local start=$SECONDS made
  made=$(sources)
  quietly node_modules/.bin/vite build --logLevel warn
  echo "$made" >dist/.stamp
  printf '    pages of the admin %s\n' "${dim}$(took $((SECONDS - start))), $(find dist/assets -type f | wc -l) files$plain"
}

check() {
  need_node
  "$root/tools/ci/node.sh" "$folder"
  npm run --silent check ${colors[@]+"${colors[@]}"}
}

# test builds on the way, to weigh the pages.
tests() {
  need_node
  "$root/tools/ci/node.sh" "$folder"
  local made
  made=$(sources)
  npm run --silent test
  echo "$made" >dist/.stamp
}

case ${1:-build} in
  build) build ;;
  check) check ;;
  test) tests ;;
  fresh) fresh || exit 1 ;;
  *) die "web.sh knows build, check, test and fresh, not $1" ;;
esac
