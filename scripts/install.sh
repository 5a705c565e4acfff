#!/bin/sh
# Installs the programs that `make dist` built, and the libtorch that they run with. `scripts/install.sh BUILT PREFIX`
#   PREFIX/bin        tusk, tusk-scheduler, tusk-executor
#   PREFIX/lib/tusk   libtorch's libraries, which the programs find beside them
set -eu

fail() {
    echo "install: $*" >&2
    exit 1
}

[ $# -eq 2 ] || fail "usage: scripts/install.sh BUILT PREFIX"
built=$1
prefix=$2
libraries=$prefix/lib/tusk
mkdir -p "$prefix/bin" "$libraries" || fail "cannot create $prefix/bin and $libraries. Set PREFIX to a folder of yours."
for library in "$LIBTORCH"/lib/*.so*; do
    # A linker script is not a library.
    case $library in */libtorch.so) [ "$(wc -c <"$library")" -gt 1000 ] || continue ;; esac
    cp "$library" "$libraries/" || fail "cannot copy $library to $libraries."
done
for name in tusk tusk-scheduler tusk-executor; do
    [ -x "$built/$name" ] || fail "$built/$name does not exist. Run \`make dist\` first."
    # Under another name first: a program that runs cannot be overwritten, but its name can be given to a new file.
    cp "$built/$name" "$prefix/bin/.$name.new" && mv "$prefix/bin/.$name.new" "$prefix/bin/$name" ||
        fail "cannot write $prefix/bin/$name."
done
echo "install: tusk, tusk-scheduler and tusk-executor are in $prefix/bin, libtorch is in $libraries"
case :$PATH: in
*:"$prefix/bin":*) ;;
*) echo "install: $prefix/bin is not on the PATH. Add it: export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
