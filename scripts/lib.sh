# Shared by the scripts beside it; sourced, never run. Sets ROOT, CACHE and TARGET, and stands in ROOT.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${AERIE_CACHE:-$ROOT/.cache}
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
NODE_VERSION=22.23.3
NPM_VERSION=11.19.1
cd "$ROOT"

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# need COMMAND=PACKAGE...: installs the Debian packages of the commands that are missing, or says which they are.
need() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "missing programs; install these packages first: ${missing[*]}"
  fi
  say "installing ${missing[*]}"
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

need_rust() {
  command -v cargo >/dev/null || die "cargo is missing; install Rust from https://rustup.rs"
  need cc=build-essential make=build-essential
}

# Puts Node 22 first in PATH, from the npm package that carries its binary, and a pinned npm beside it.
# Debian's own node is too old for the AT Protocol packages; it only bootstraps.
need_node() {
  local home=$CACHE/node arch
  case "$(uname -m)" in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *) die "no Node package for $(uname -m)" ;;
  esac
  if [ "$("$home/node_modules/node-linux-$arch/bin/node" --version 2>/dev/null)" != "v$NODE_VERSION" ]; then
    need npm=npm
    say "Node $NODE_VERSION into $home"
    mkdir -p "$home"
    [ -f "$home/package.json" ] || printf '{"private":true}\n' >"$home/package.json"
    npm install --prefix "$home" --no-fund --no-audit --no-save --loglevel=error \
      "node-linux-$arch@$NODE_VERSION" "npm@$NPM_VERSION"
  fi
  ln -sf ../npm/bin/npm-cli.js "$home/node_modules/.bin/npm"
  export PATH=$home/node_modules/node-linux-$arch/bin:$home/node_modules/.bin:$PATH
  # Native addons are built against this Node's headers when no prebuilt one can be had.
  export npm_config_nodedir=$home/node_modules/node-linux-$arch
}

# The AT Protocol packages that the real-network tests and `run --local` need, at the locked versions.
need_network_packages() {
  local dir=$ROOT/tests/network want
  need_node
  want=$(sha256sum "$dir/package-lock.json" | cut -d' ' -f1)-node$NODE_VERSION
  [ "$(cat "$dir/node_modules/.installed" 2>/dev/null)" = "$want" ] && return
  need cc=build-essential make=build-essential python3=python3
  say "npm packages of tests/network"
  (cd "$dir" && npm ci --no-fund --no-audit --loglevel=error)
  printf '%s\n' "$want" >"$dir/node_modules/.installed"
}

# assemble BINARY DIR: fills DIR with what a package has: program, unit, man pages, completions, example, licences.
assemble() {
  local binary=$1 dir=$2
  need strip=binutils python3=python3 gzip=gzip
  rm -rf "$dir"
  mkdir -p "$dir/completions"
  strip --strip-debug -o "$dir/aerie" "$binary"
  "$binary" man "$dir/man"
  gzip -9n "$dir"/man/*
  "$binary" completions bash >"$dir/completions/aerie"
  "$binary" completions zsh >"$dir/completions/_aerie"
  "$binary" completions fish >"$dir/completions/aerie.fish"
  sed 's#/usr/local/bin/aerie#/usr/bin/aerie#' systemd/aerie.service >"$dir/aerie.service"
  scripts/licences >"$dir/licences.txt"
  gzip -9n "$dir/licences.txt"
  cp LICENSE README.md config.example.toml "$dir/"
}
