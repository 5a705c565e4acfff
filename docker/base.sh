#!/bin/sh
# Makes sure that the engine has the base of all container images. Pulls it from a registry. If no registry can be
# reached, builds it from Debian's packages, which needs root. `docker/base.sh [TAG]`
set -eu
image=${1:-debian:bookworm-slim}
suite=bookworm
mirror=${TUSK_DEBIAN_MIRROR:-http://deb.debian.org/debian}

fail() {
    echo "base: $*" >&2
    exit 1
}

docker image inspect "$image" >/dev/null 2>&1 && exit 0
echo "base: pulling $image"
if timeout 120 docker pull --quiet "$image" 2>/dev/null; then
    exit 0
fi

sudo=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || fail "cannot reach a registry, and building $image requires root or sudo."
    sudo=sudo
fi
echo "base: cannot reach a registry; building $image from Debian's packages (debootstrap, about 2 minutes)"
if ! command -v debootstrap >/dev/null 2>&1; then
    command -v apt-get >/dev/null 2>&1 || fail "debootstrap is missing. Install it and run this again."
    echo "base: about to install with apt-get, which needs root: debootstrap"
    $sudo apt-get update -qq || fail "apt-get update failed (its message is above). Check the network."
    $sudo apt-get install -y -qq --no-install-recommends debootstrap || fail "apt-get could not install debootstrap."
fi
tree=$(mktemp -d)
trap '$sudo rm -rf "$tree"' EXIT
log=$tree.log
$sudo debootstrap --variant=minbase --include=ca-certificates "$suite" "$tree" "$mirror" >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    fail "debootstrap failed (its last lines are above; the full log is $log). Check the network and run this again."
}
rm -f "$log"
# As in Debian's slim image: no documentation, manuals, translations, or files that apt can fetch again.
cat <<APT | $sudo tee "$tree/etc/apt/apt.conf.d/tusk-slim" >/dev/null
APT::Install-Recommends "false";
Acquire::Languages "none";
APT
cat <<DPKG | $sudo tee "$tree/etc/dpkg/dpkg.cfg.d/tusk-slim" >/dev/null
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/locale/*
DPKG
cat <<SOURCES | $sudo tee "$tree/etc/apt/sources.list" >/dev/null
deb $mirror $suite main
deb $mirror $suite-updates main
deb ${mirror%/debian}/debian-security $suite-security main
SOURCES
$sudo sh -c "cd '$tree' && rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* var/log/*.log usr/share/man/* usr/share/locale/*
    find usr/share/doc -type f ! -name copyright -delete; find usr/share/doc -type d -empty -delete"
$sudo tar -C "$tree" --numeric-owner -c . | docker import --change 'CMD ["bash"]' - "$image" >/dev/null ||
    fail "docker could not import $image (its message is above)."
echo "base: $image is ready"
