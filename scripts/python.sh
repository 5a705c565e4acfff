#!/bin/sh
# Makes the Python that the tests of the cluster run with, in a folder of its own, and prints nothing but what it does.
#   scripts/python.sh DIR       makes or renews it, from tests/cluster/requirements.txt (pinned by SHA-256)
#   scripts/python.sh --lock    renews the pins from the requirements.in beside each requirements.txt
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "python: $*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: scripts/python.sh DIR, or scripts/python.sh --lock"
python=${PYTHON:-python3}
command -v "$python" >/dev/null 2>&1 || fail "$python is missing. Install Python 3.11 or newer and run this again."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old: the tests need 3.11 or newer. Set PYTHON to one."

if [ "$1" = --lock ]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    "$python" -m venv "$scratch" && "$scratch/bin/pip" install --quiet uv || fail "failed to install uv."
    for folder in notebooks tests/cluster; do
        echo "python: updating $folder/requirements.txt"
        # The notebooks run in an image with one Python; the tests with whichever the machine has.
        if [ "$folder" = notebooks ]; then target="--python-platform x86_64-manylinux_2_28"; else target=--universal; fi
        # shellcheck disable=SC2086 # a list of flags
        "$scratch/bin/uv" pip compile --quiet --upgrade $target --python-version 3.11 --generate-hashes --no-annotate \
            --native-tls --no-header --output-file "$folder/requirements.txt" "$folder/requirements.in" ||
            fail "failed to resolve $folder/requirements.in (uv's message is above)."
    done
    exit 0
fi

dir=$1
wanted=$(cat tests/cluster/requirements.txt | cksum; "$python" --version)
if [ -e "$dir/wanted" ] && [ "$(cat "$dir/wanted")" = "$wanted" ]; then
    exit 0
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    command -v apt-get >/dev/null 2>&1 || fail "$python has no venv module. Install it and run this again."
    echo "python: about to install with apt-get, which needs root: python3-venv"
    sudo=""
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -qq || fail "apt-get update failed (its message is above). Check the network."
    $sudo apt-get install -y -qq --no-install-recommends python3-venv || fail "apt-get could not install python3-venv."
fi
echo "python: installing what the tests of the cluster need into $dir (700 MB on disk)"
rm -rf "$dir"
"$python" -m venv "$dir" || fail "cannot create $dir (the message is above)."
"$dir/bin/pip" install --quiet --require-hashes -r tests/cluster/requirements.txt ||
    fail "failed to install the packages (pip's message is above). Check the network and run this again."
printf '%s' "$wanted" >"$dir/wanted"
