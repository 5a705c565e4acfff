#!/bin/sh
# Copies the content of the container images to docker/context/: the programs of `make dist` or of the folder TUSK_BIN,
# stripped; libtorch's libraries; the notebooks' packages as wheels. `docker/context.sh [cpu|cuda]`
set -eu
cd "$(dirname "$0")/.."
torch=${1:-cpu}
built=${TUSK_BIN:-${CARGO_TARGET_DIR:-target}/dist}
libtorch=${LIBTORCH:-${TUSK_LIBTORCH_DIR:-.libtorch}/$torch}
base=${TUSK_BASE:-debian:bookworm-slim}
context=docker/context

fail() {
    echo "context: $*" >&2
    exit 1
}

for name in tusk tusk-scheduler tusk-executor; do
    [ -x "$built/$name" ] || fail "$built/$name does not exist. Run \`make dist\` first."
done
[ -e "$libtorch/lib/libtorch_cpu.so" ] || fail "$libtorch/lib does not contain libtorch. Run \`make setup\`, or set LIBTORCH."
[ "$torch" = cpu ] || [ -e "$libtorch/lib/libtorch_cuda.so" ] ||
    fail "$libtorch/lib does not contain a CUDA build of libtorch. Run \`TUSK_TORCH=cuda make dist\` first."

# A binary needs the C library that it was linked against, or a newer one.
needs=$(objdump -T "$built/tusk-scheduler" "$built/tusk-executor" | sed -n 's/.*(GLIBC_\([0-9.]*\)).*/\1/p' | sort -Vu | tail -n 1)
has=$(docker run --rm --network none "$base" ldd --version | sed -n '1s/.* //p')
[ "$(printf '%s\n%s\n' "$needs" "$has" | sort -V | tail -n 1)" = "$has" ] ||
    fail "the binaries need glibc $needs and $base has $has. Build on a system as old as the image (Debian 12), or set" \
        "TUSK_BASE to an image with glibc $needs."

mkdir -p "$context/scheduler" "$context/executor/$torch/bin" "$context/executor/$torch/lib" "$context/notebook/wheels"
# stage FILE DEST: strips FILE into DEST, if DEST is missing or older.
stage() {
    [ -e "$2" ] && [ ! "$1" -nt "$2" ] && return
    strip -o "$2" "$1"
}
stage "$built/tusk-scheduler" "$context/scheduler/tusk-scheduler"
stage "$built/tusk-executor" "$context/executor/$torch/bin/tusk-executor"
stage "$built/tusk" "$context/executor/$torch/bin/tusk"
for library in "$libtorch"/lib/*.so*; do
    # A linker script is not a library.
    case $library in */libtorch.so) [ "$(wc -c <"$library")" -gt 1000 ] || continue ;; esac
    cp -u "$library" "$context/executor/$torch/lib/"
done
for role in scheduler executor notebook; do
    cp -u docker/health.sh "$context/$role/health.sh"
done

rm -rf "$context/notebook/notebooks"
mkdir -p "$context/notebook/notebooks"
cp notebooks/*.ipynb "$context/notebook/notebooks/"
if ! cmp -s notebooks/requirements.txt "$context/notebook/requirements.txt"; then
    echo "context: downloading the notebooks' packages (about 150 MB)"
    rm -rf "$context/notebook/wheels"
    # For the Python of the container image, not of this machine.
    platforms=""
    for minor in 36 35 34 31 28 27 24 17 12 5; do platforms="$platforms --platform manylinux_2_${minor}_x86_64"; done
    # shellcheck disable=SC2086 # a list of flags
    python3 -m pip download --quiet --no-deps --require-hashes --only-binary=:all: --implementation cp --abi cp311 \
        --abi abi3 --abi none --python-version 3.11 $platforms --platform manylinux2014_x86_64 \
        --platform manylinux1_x86_64 --dest "$context/notebook/wheels" -r notebooks/requirements.txt ||
        fail "failed to download the packages (pip's message is above). Check the network and run this again."
    cp notebooks/requirements.txt "$context/notebook/requirements.txt"
fi
