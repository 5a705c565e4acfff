"""The virtual environments of the other systems: folders below the target folder, filled from PyPI once."""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from cluster import BIN, TARGET

__all__ = ["BIN", "HERE", "TARGET", "python_with", "python_with_torch"]


def python_with(name, packages):
    """The Python of the environment `name`, which has these packages."""
    folder = TARGET / "peers" / name
    python, ready, wanted = folder / "bin" / "python", folder / ".ready", "\n".join(packages)
    if not ready.exists() or ready.read_text() != wanted:
        print(f"installing {', '.join(packages)} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        if subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=False).returncode != 0:
            sys.exit("failed to install the peers; see pip's message above")
        ready.write_text(wanted)
    return str(python)


def python_with_torch():
    """PyTorch as Tusk has it (5 GB with the CUDA libraries that the wheel wants, though no GPU is used), or the Python
    that PEERS_PYTHON names."""
    return os.environ.get("PEERS_PYTHON") or python_with("torch", ["torch==2.13.0", "numpy==2.2.6", "pillow==12.0.0"])
