#!/usr/bin/env bash
# Runs every linter over every module of the workspace, and the checks of the admin's TypeScript. With
# --fix it formats Go instead.
set -euo pipefail
# shellcheck source=tools/ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

"$root/tools/ci/tools.sh" golangci-lint
export GOLANGCI_LINT_CACHE=$cache/golangci-lint

# Generated code is in a module of its own and is not linted.
modules=$(sed -n 's#^[[:space:]]*\./\(.*\)$#\1#p' go.work | grep -v "^proto\$")

if [ "${1:-}" = --fix ]; then
  for module in $modules; do
    (cd "$module" && golangci-lint fmt)
  done
  exit
fi

failed=0
for module in $modules; do
  printf '    %s\n' "$module"
  (cd "$module" && golangci-lint run --allow-serial-runners --timeout 15m ./...) || failed=1
done
printf '    services/keys/web\n'
"$root/tools/ci/web.sh" check || [ $? -eq 3 ] || failed=1
exit "$failed"
