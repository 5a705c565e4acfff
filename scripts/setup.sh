#!/bin/sh
# Installs what a build needs and is missing, and says so first: Debian and Ubuntu packages (as root, or with sudo),
# and libtorch in a folder of this project. `scripts/setup.sh [cpu|cuda]`
set -eu
cd "$(dirname "$0")/.."
kind=${1:-cpu}

fail() {
    echo "setup: $*" >&2
    exit 1
}

command -v cargo >/dev/null 2>&1 ||
    fail "cargo is missing. Install Rust with rustup (https://rustup.rs), open a new shell, and run this again."

missing=""
need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need cc build-essential
need c++ build-essential
need pkg-config pkg-config
# libjpeg-turbo is built from its source.
need cmake cmake
need nasm nasm
if [ -z "${LIBTORCH:-}" ]; then
    need python3 python3
    python3 -m pip --version >/dev/null 2>&1 || missing="$missing python3-pip"
fi
if [ -n "$missing" ]; then
    # Each package once.
    missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
    command -v apt-get >/dev/null 2>&1 ||
        fail "missing packages: $missing- install them (Debian names) and run this again."
    echo "setup: about to install with apt-get, which needs root: $missing"
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 ||
            fail "installing packages requires root or sudo. Ask an administrator to run: apt-get install $missing"
        sudo=sudo
    fi
    $sudo apt-get update -qq || fail "apt-get update failed (its message is above). Check the network."
    # shellcheck disable=SC2086 # a list of packages
    $sudo apt-get install -y -qq --no-install-recommends $missing ||
        fail "apt-get could not install $missing(its message is above)."
fi

if [ -n "${LIBTORCH:-}" ]; then
    [ -d "$LIBTORCH/lib" ] || fail "LIBTORCH is $LIBTORCH, which has no lib folder. Unset it, or point it at a libtorch folder."
    echo "setup: using libtorch in $LIBTORCH"
else
    python3 scripts/libtorch.py "$kind" "${TUSK_LIBTORCH_DIR:-.libtorch}/$kind"
fi

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target" || fail "cannot create the build folder $target. Set CARGO_TARGET_DIR to another folder."
if [ ! -e "$target/debug/tusk" ] && [ ! -e "$target/dist/tusk" ]; then
    free_mb=$(df -Pm "$target" | awk 'NR == 2 { print $4 }')
    [ "$free_mb" -ge 6000 ] ||
        fail "$target has $free_mb MB free, and a first build needs 6000. Free some space, or set CARGO_TARGET_DIR elsewhere."
fi
