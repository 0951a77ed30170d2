#!/usr/bin/env bash
# Measures what the router adds to a call: latency, CPU and memory against a direct call and a bare Go
# reverse proxy, and CPU against the router without telemetry; and how soon two routers follow when something
# is switched off under load. With --check it fails outside the bounds, and then compares the
# micro-benchmarks with tools/ci/bench-base.txt: none may allocate more than there, for allocations are the
# same on every machine and times are not. With --micro or --update it runs the
# micro-benchmarks alone; --update makes them the base. With --usage it times what the usage page asks of
# a Postgres with a million events; --check does so too, and fails if any call takes more than a second.
set -euo pipefail
# shellcheck source=tools/ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tools/ci/postgres.sh
source "$root/tools/ci/postgres.sh"
cd "$root"

# usage_bench [-check] fills a Postgres of its own, unless CLAVIGER_TEST_POSTGRES names one.
usage_bench() (
  trap postgres_stop EXIT
  postgres_start
  "$bin/bench" usage "$@"
)

base=tools/ci/bench-base.txt
now=$cache/bench.txt
check_go
case ${1:-} in
  '') go_build bench -p 2 -o "$bin/bench" ./tools/cmd/bench; exec "$bin/bench" ;;
  --check) go_build bench -p 2 -o "$bin/bench" ./tools/cmd/bench; "$bin/bench" -check || die "outside the bounds"
    usage_bench -check || die "the usage page is too slow" ;;
  --usage) go_build bench -p 2 -o "$bin/bench" ./tools/cmd/bench; usage_bench; exit ;;
esac
"$root/tools/ci/tools.sh" benchstat
packages=$(grep -rl --include='*_test.go' -E '^func Benchmark' pkg services tools | xargs -n1 dirname | sort -u | sed 's#^#./#')
[ -n "$packages" ] || die "there are no benchmarks"
say "benchmarks (BENCHTIME=${BENCHTIME:-200ms}, BENCHCOUNT=${BENCHCOUNT:-5})"
# shellcheck disable=SC2086
go test -run '^$' -bench "${BENCH:-.}" -benchmem -benchtime "${BENCHTIME:-200ms}" -count "${BENCHCOUNT:-5}" -p 1 $packages | tee "$now"

if [ "${1:-}" = --update ]; then
  cp "$now" "$base"
  exit
fi
[ -e "$base" ] || { [ "${1:-}" != --check ] || die "there is no $base: 'make bench-base' writes it"; exit 0; }
benchstat "$base" "$now"
[ "${1:-}" = --check ] || exit 0

# A tenth and one more allocation are noise of maps and pools.
awk '
  /^Benchmark/ {
    name = $1; sub(/-[0-9]+$/, "", name)
    for (i = 2; i <= NF; i++) if ($i == "allocs/op") { sum[FILENAME, name] += $(i-1); n[FILENAME, name]++; names[name] = 1 }
  }
  END {
    for (name in names) {
      if (!n[ARGV[1], name] || !n[ARGV[2], name]) continue
      was = sum[ARGV[1], name] / n[ARGV[1], name]; is = sum[ARGV[2], name] / n[ARGV[2], name]
      if (is > was * 1.1 + 1) { printf "%s: %.1f allocs/op, was %.1f\n", name, is, was; bad = 1 }
    }
    exit bad
  }' "$base" "$now" >&2 || die "benchmarks allocate more than in $base; if that is meant, 'make bench-base' and say why in the commit"
say "no benchmark allocates more than in $base"
