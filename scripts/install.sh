#!/bin/sh
# Installs aerie as a service of this machine, or brings an installation to this version.
# Any Linux with systemd. It may be run again at any time, also after an interruption: what is done stays done, a configuration
# and a store that are there are not touched. It ends with `aerie doctor`.
set -eu

usage() {
  cat <<'TEXT'
usage: sudo scripts/install.sh [--binary FILE] [--no-start] [--offline] [-- SETUP OPTION...]

  --binary FILE   the program to install; without it the one beside this script or in target/release, else it is built
  --no-start      install, and leave the service as it is
  --offline       let `aerie doctor` at the end ask nobody
  -- ...          options of `aerie setup`, such as --yes --public-url appview.example.org; it asks for what it is not
                  told, and is left out where /etc/aerie/config.toml is there

Removes nothing: to remove aerie, stop the service and delete what it says it has put where.
TEXT
}

say() { printf '%s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

binary='' start=true offline=''
while [ $# -gt 0 ]; do
  case "$1" in
    --binary) [ $# -ge 2 ] || die "--binary needs a file"; binary=$2; shift ;;
    --no-start) start=false ;;
    --offline) offline=--offline ;;
    --) shift; break ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

here=$(cd "$(dirname "$0")/.." && pwd)
PROGRAM=/usr/local/bin/aerie
UNIT=/etc/systemd/system/aerie.service
CONFIG=/etc/aerie/config.toml

# --- what it needs, before anything is changed
[ "$(uname -s)" = Linux ] || die "aerie runs on Linux; this is $(uname -s)"
if [ ! -d /run/systemd/system ]; then
  die "this machine was not started by systemd, so there is nothing to run the service. Nothing was changed.
Run aerie yourself instead: \`aerie setup --dir . --data ./data\`, then \`aerie serve\` under whatever starts programs here."
fi
[ "$(id -u)" = 0 ] || die "run this as root: sudo $0"
for command in install useradd systemctl cmp; do
  command -v "$command" >/dev/null || die "the program $command is missing; nothing was changed"
done
if [ -e /usr/lib/systemd/system/aerie.service ] || [ -e /lib/systemd/system/aerie.service ]; then
  die "aerie is installed here from a package: let your package manager bring it up to date. Nothing was changed."
fi

unit=$here/systemd/aerie.service
[ -f "$unit" ] || die "$unit is missing: run this from a whole checkout or release"

# --- the program
if [ -z "$binary" ]; then
  for candidate in "$here/aerie" "$here/target/release/aerie"; do
    [ ! -x "$candidate" ] || { binary=$candidate; break; }
  done
fi
if [ -z "$binary" ]; then
  command -v cargo >/dev/null || die "there is no program to install: give one with --binary, or install Rust (https://rustup.rs)"
  say "building aerie (some minutes)"
  (cd "$here" && cargo build --locked --release)
  binary=$here/target/release/aerie
fi
version=$("$binary" --version 2>/dev/null) || die "$binary does not run on this machine. Nothing was changed."

# put FILE PLACE MODE: puts a file in its place at once or not at all; false if it was there already.
put() {
  if [ -f "$2" ] && cmp -s "$1" "$2"; then return 1; fi
  install -D -m "$3" "$1" "$2.new"
  mv -f "$2.new" "$2"
  say "  $2"
}

say "installing $version"
changed=false
put "$binary" "$PROGRAM" 755 && changed=true

# --- a user that is always the same, so that files which are restored are its own
if ! id aerie >/dev/null 2>&1; then
  useradd --system --user-group --home-dir /var/lib/aerie --no-create-home --shell /usr/sbin/nologin aerie
  say "  the user aerie"
fi
install -d -m 750 -o root -g aerie /etc/aerie
install -d -m 700 -o aerie -g aerie /var/lib/aerie

# --- what the shell and man know
pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT INT TERM
"$PROGRAM" man "$pages/man"
for page in "$pages"/man/*; do
  put "$page" "/usr/local/share/man/man${page##*.}/${page##*/}" 644 >/dev/null || true
done
"$PROGRAM" completions bash >"$pages/bash"
"$PROGRAM" completions zsh >"$pages/zsh"
"$PROGRAM" completions fish >"$pages/fish"
put "$pages/bash" /usr/local/share/bash-completion/completions/aerie 644 >/dev/null || true
put "$pages/zsh" /usr/local/share/zsh/site-functions/_aerie 644 >/dev/null || true
put "$pages/fish" /usr/local/share/fish/vendor_completions.d/aerie.fish 644 >/dev/null || true

# --- the configuration
if [ -f "$CONFIG" ]; then
  [ $# -eq 0 ] || say "  $CONFIG is there and stays as it is: the options behind -- are not used"
else
  "$PROGRAM" setup "$@" || die "no configuration was written. Everything up to here stays; run this again"
fi

# --- the service
put "$unit" "$UNIT" 644 && { changed=true; systemctl daemon-reload; }
if $start; then
  systemctl enable --quiet aerie
  if systemctl is-active --quiet aerie; then
    if $changed; then say "restarting aerie"; systemctl restart aerie; fi
  else
    say "starting aerie"
    systemctl start aerie || die "the service did not start; \`journalctl -u aerie -n 50\` says why"
  fi
fi

# --- is all well? As the user that the service runs as, so that the store can be looked into.
say ''
if command -v runuser >/dev/null; then
  runuser -u aerie -- "$PROGRAM" doctor --config "$CONFIG" $offline || result=$?
else
  su -s /bin/sh aerie -c "$PROGRAM doctor --config $CONFIG $offline" || result=$?
fi
say ''
say "installed: $PROGRAM, $UNIT, /etc/aerie, /var/lib/aerie, man pages and completions in /usr/local/share"
[ "${result:-0}" = 0 ] || say "aerie is installed; what doctor names is left for you"
exit "${result:-0}"
