# One Postgres for a whole test run, on a free loopback port, without durability. Source this file;
# postgres_start exports CLAVIGER_TEST_POSTGRES, postgres_stop ends the server and removes its files.
# shellcheck shell=bash

postgres_dir=''

# postgres_bin prints the folder of the server's binaries.
postgres_bin() {
  local folder
  for folder in "${CLAVIGER_POSTGRES_BIN:-}" /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql*/bin \
    /usr/local/opt/postgresql*/bin /usr/pgsql-*/bin "$(dirname "$(command -v initdb 2>/dev/null || echo /nowhere/x)")"; do
    if [ -n "$folder" ] && [ -x "$folder/initdb" ] && [ -x "$folder/pg_ctl" ]; then echo "$folder"; fi
  done | tail -n 1
}

# as_server runs a command as a user that Postgres accepts: it refuses root.
as_server() {
  if [ "$(id -u)" -ne 0 ]; then "$@"; else setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; fi
}

postgres_ensure() {
  [ -n "$(postgres_bin)" ] && return
  if can_install; then install_packages postgresql postgresql-contrib; fi
  [ -n "$(postgres_bin)" ] || die "Postgres 15 or newer is needed for the tests: install its server package (Debian: postgresql, Fedora: postgresql-server, Homebrew: postgresql@17), or set CLAVIGER_POSTGRES_BIN to the folder of initdb, or CLAVIGER_TEST_POSTGRES to the address of a server that may be filled with databases"
}

# free_port prints a loopback port that nobody listens on.
free_port() {
  local port
  for _ in $(seq 50); do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
  die "no free port was found"
}

postgres_start() {
  if [ -n "${CLAVIGER_TEST_POSTGRES:-}" ]; then
    say "using the Postgres of CLAVIGER_TEST_POSTGRES"
    return
  fi
  postgres_ensure
  local folder port
  folder=$(postgres_bin)
  if [ "$(id -u)" -eq 0 ] && ! id postgres >/dev/null 2>&1; then useradd --system --no-create-home postgres; fi
  # Not under the checkout: a server that is not root must be able to walk to it, and socket paths are short.
  postgres_dir=$(mktemp -d "${TMPDIR:-/tmp}/claviger-pg.XXXXXX")
  [ "$(id -u)" -ne 0 ] || chown postgres "$postgres_dir"
  port=$(free_port)
  as_server "$folder/initdb" -D "$postgres_dir/data" -U claviger -A trust -E UTF8 --locale=C -N >"$cache/postgres.log" 2>&1 ||
    { cat "$cache/postgres.log" >&2; die "initdb did not work"; }
  as_server "$folder/pg_ctl" -D "$postgres_dir/data" -w -t 60 -l "$postgres_dir/log" \
    -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=$postgres_dir -c max_connections=400 -c shared_buffers=128MB -c fsync=off -c synchronous_commit=off -c full_page_writes=off" \
    start >"$cache/postgres.log" 2>&1 || { cat "$postgres_dir/log" >&2; die "Postgres does not start"; }
  export CLAVIGER_TEST_POSTGRES="postgres://claviger@127.0.0.1:$port/postgres?sslmode=disable"
}

postgres_stop() {
  [ -n "$postgres_dir" ] || return 0
  as_server "$(postgres_bin)/pg_ctl" -D "$postgres_dir/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$postgres_dir"
  postgres_dir=''
}
