#!/usr/bin/env python3
"""Make a libtorch folder from the PyTorch wheel: libtorch.py {cpu|cuda} DEST

cpu   the CPU libraries only (0.5 GB on disk), cut from the wheel
cuda  every library of the wheel and of the nvidia packages it names (about 5 GB on disk)

The version and the SHA-256 of each download are in libtorch-requirements.txt. DEST appears only when it is whole, and
one of another version is replaced.
"""

import email
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

CPU_LIBRARIES = {
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libc10.so",
    "torch/lib/libgomp.so.1",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
}
REQUIREMENTS = pathlib.Path(__file__).with_name("libtorch-requirements.txt")
VERSION = re.search(r"^torch==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)[1]
FREE_BYTES = {"cpu": 3 << 30, "cuda": 14 << 30}
# The wheels of one Python and one glibc, whatever this machine has: pip matches platforms exactly.
PLATFORMS = [f"manylinux_2_{minor}" for minor in range(28, 4, -1)] + ["manylinux2014", "manylinux2010", "manylinux1"]
WHEEL_TARGET = ["--only-binary=:all:", "--implementation=cp", "--python-version=3.11"] + [
    f"--platform={platform}_x86_64" for platform in PLATFORMS
]


def stop(sentence):
    sys.exit(f"libtorch: {sentence}")


def download(folder, *what):
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, *WHEEL_TARGET, *what]
    if subprocess.run(command, check=False).returncode != 0:
        stop(
            "the download failed (pip's message is above). Check the network or the proxy and run the same command "
            f"again; or set LIBTORCH to a folder that already holds libtorch {VERSION}."
        )


def extract(wheel, dest, wanted):
    """Copies the wheel's libraries and headers for which wanted(name) holds into dest/lib and dest/include."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith("/"):
                continue
            if name.startswith("torch/include/"):
                target = dest / name.removeprefix("torch/")
            elif wanted(name) and "/lib/" in name and ".so" in name.rsplit("/", 1)[1]:
                target = dest / "lib" / name.rsplit("/", 1)[1]
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def nvidia_requirements(wheel):
    """The CUDA packages that the torch wheel's own metadata pins, for Linux."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    lines = (r.split(";")[0].strip() for r in metadata.get_all("Requires-Dist", []))
    return [line for line in lines if line.startswith(("nvidia-", "cuda-toolkit"))]


def wheel_version(wheel):
    """The version that the torch wheel gives itself, with its CUDA: 2.13.0+cu130."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("torch/version.py").decode()
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE)[1]


def build(kind, dest):
    with tempfile.TemporaryDirectory(dir=dest.parent, prefix=".libtorch-") as scratch:
        wheels, tree = pathlib.Path(scratch, "wheels"), pathlib.Path(scratch, "tree")
        download(str(wheels), "--require-hashes", "-r", str(REQUIREMENTS))
        torch = next(wheels.glob("torch-*.whl"))
        if kind == "cuda":
            nvidia = pathlib.Path(scratch, "nvidia")
            command = [sys.executable, "-m", "pip", "download", "--dest", str(nvidia), *WHEEL_TARGET]
            if subprocess.run([*command, *nvidia_requirements(torch)], check=False).returncode != 0:
                stop("failed to download a CUDA package (pip's message is above). Run the same command again.")
            for wheel in [torch, *nvidia.glob("*.whl")]:
                extract(wheel, tree, lambda name: "libtorch_python" not in name)
            version = wheel_version(torch)
        else:
            for wheel in wheels.glob("*.whl"):
                extract(wheel, tree, CPU_LIBRARIES.__contains__)
            # The CPU build has no umbrella library: the linker finds the one that counts through this script.
            (tree / "lib" / "libtorch.so").write_text("INPUT(-ltorch_cpu)\n")
            version = VERSION
        (tree / "build-version").write_text(f"{version}\n")
        if dest.exists():
            shutil.rmtree(dest)
        tree.rename(dest)


def built(dest):
    """The libtorch version that DEST holds, or None."""
    try:
        return (dest / "build-version").read_text().strip()
    except OSError:
        return None


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in FREE_BYTES:
        sys.exit(__doc__)
    kind, dest = sys.argv[1], pathlib.Path(sys.argv[2]).absolute()
    found = built(dest)
    if found is not None and found.split("+")[0] == VERSION:
        return
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        stop(
            f"no prebuilt libtorch for {platform.system()} {platform.machine()}. Install libtorch {VERSION} "
            "and set LIBTORCH to its folder."
        )
    dest.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(dest.parent).free
    if free < FREE_BYTES[kind]:
        stop(
            f"{dest.parent} has {free >> 20} MiB free; unpacking the {kind} build needs {FREE_BYTES[kind] >> 20} MiB. "
            "Free some space, or set TUSK_LIBTORCH_DIR to a folder on a larger disk."
        )
    if found is not None:
        print(f"libtorch: {dest} holds libtorch {found}, which is replaced")
    print(f"libtorch: fetching libtorch {VERSION} ({kind}) into {dest} (the wheel is 530 MB)", flush=True)
    build(kind, dest)
    print(f"libtorch: {dest} is ready", flush=True)


if __name__ == "__main__":
    main()
