#!/usr/bin/env bash
# Builds .bin/claviger and runs it with the arguments. Nothing else is needed: no Vault, Postgres or Node.
set -euo pipefail
# shellcheck source=tools/ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

check_go
go_build claviger -p 2 -o "$bin/claviger" ./tools/cmd/claviger
exec "$bin/claviger" "$@"
