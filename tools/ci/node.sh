#!/usr/bin/env bash
# Installs the npm packages that a folder's lockfile names: node.sh FOLDER. Nothing happens when they
# are there already. Ends with 3 when there is no Node.js, so that callers can do without.
set -euo pipefail
# shellcheck source=tools/ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

folder=$root/$1
if ! command -v npm >/dev/null; then
  warn "npm is not on this machine: $1 is left alone (https://nodejs.org, version 20.19 or newer)"
  exit 3
fi
stamp=$folder/node_modules/.claviger-$(sha256sum "$folder/package-lock.json" | cut -c1-16)
[ -e "$stamp" ] && exit
say "npm packages of $1"
# Scripts of packages stay off: nothing here needs any.
(cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
: >"$stamp"
