"""Install the Python packages of the named extras of pyproject.toml into this interpreter's environment."""

import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())

if __name__ == "__main__":
    extras = PROJECT["project"]["optional-dependencies"]
    packages = [package for name in sys.argv[1:] for package in extras[name]]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    sys.exit(subprocess.run([*pip, *packages], check=False).returncode)
