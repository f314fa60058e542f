"""The package of this source tree on the library that PCONV_PYTHON_LIBRARY names, or an installed one."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes many seconds; left out of the default run of ctest")
