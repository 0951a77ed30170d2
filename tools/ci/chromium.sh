#!/usr/bin/env bash
# Prints where Chromium is, and installs it on Debian if it is missing and that needs no question.
set -euo pipefail
# shellcheck source=tools/ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

find_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

if ! find_chromium >/dev/null; then
  can_install || die "Chromium is needed for the tests of the admin: install it, on Debian with 'apt-get install chromium'"
  install_packages chromium >&2
fi
find_chromium
