"""The package of this source tree on the library that PCONV_PYTHON_LIBRARY names, or an installed one."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes many seconds; left out of the default run of ctest")


@pytest.fixture(scope="session")
def command():
    """Runs the pconv command that PCONV_COMMAND names, or that of this source tree's build; its output."""
    path = pathlib.Path(os.environ.get("PCONV_COMMAND", ROOT / "build" / "release" / "bin" / "pconv"))
    if not path.exists():
        pytest.skip(f"no pconv command at {path}; expected it in PCONV_COMMAND")

    def run(*words):
        done = subprocess.run([path, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
