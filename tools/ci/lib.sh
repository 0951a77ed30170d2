# Shared by the scripts beside it: where things are, and how progress is shown.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=$root/.bin
cache=$root/.cache
mkdir -p "$bin" "$cache"
export PATH=$bin:$PATH

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' plain=$'\e[0m'
else
  bold='' dim='' red='' green='' yellow='' plain=''
fi

say() { printf '%s\n' "${bold}==>${plain} $*"; }
warn() { printf '%s\n' "${yellow}==>${plain} $*" >&2; }
die() {
  printf '%s\n' "${red}==> $*${plain}" >&2
  exit 1
}

# A script that ends early says where.
set -E
trap 'warn "${BASH_SOURCE[0]}:$LINENO: \"$BASH_COMMAND\" ended with $?"' ERR

# took SECONDS prints a duration for people.
took() {
  if [ "$1" -lt 60 ]; then printf '%ds' "$1"; else printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); fi
}

# step NAME COMMAND… runs a command under a headline and says how long it took. The durations are
# gathered for summary.
steps=()
step() {
  local name=$1 start=$SECONDS status=0
  shift
  say "$name"
  "$@" || status=$?
  local time
  time=$(took $((SECONDS - start)))
  if [ "$status" -eq 0 ]; then
    steps+=("${green}ok${plain}    $(printf '%-44s %8s' "$name" "$time")")
  else
    steps+=("${red}FAIL${plain}  $(printf '%-44s %8s' "$name" "$time")")
  fi
  return "$status"
}

# summary TITLE prints what the steps took.
summary() {
  printf '\n%s\n' "${bold}$1${plain}"
  printf '  %s\n' "${steps[@]}"
  printf '  total %s\n' "$(took "$SECONDS")"
}

# need COMMAND HOW dies with a clear line when a command is missing.
need() { command -v "$1" >/dev/null 2>&1 || die "$1 is needed: $2"; }

# can_install reports whether packages can be installed here without asking anybody.
can_install() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; }

# install_packages PACKAGE… installs Debian packages.
install_packages() {
  say "installing $*"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; } \
    >"$cache/apt.log" 2>&1 || { tail -n 15 "$cache/apt.log" >&2; die "apt-get install $* did not work"; }
}

# check_go dies without a Go toolchain that is new enough.
check_go() {
  need go "install Go 1.26 or newer from https://go.dev/dl"
  local version
  version=$(go env GOVERSION)
  version=${version#go}
  [ "$(printf '%s\n1.26\n' "$version" | sort -V | head -n1)" = 1.26 ] || die "Go 1.26 or newer is needed, this is $version"
}

# go_build NAME ARGUMENT… builds with a dot for every fifty packages, so that a cold build does not
# look like a hanging one.
go_build() {
  local name=$1 log=$cache/build-$1.log start=$SECONDS count=0 line
  shift
  printf '    building %s ' "$name"
  if go build -v "$@" 2>&1 | tee "$log" | { while IFS= read -r line; do
    count=$((count + 1))
    [ $((count % 50)) -ne 0 ] || printf .
  done; }; then
    printf ' %s\n' "${dim}$(took $((SECONDS - start))), $(wc -l <"$log") packages compiled$plain"
    return
  fi
  printf '\n'
  grep -v '^[a-z0-9._-]*\(/[^ :]*\)*$' "$log" | tail -n 60 >&2 || true
  die "$name does not build"
}
