"""What a type checker says of the package, and what it tells a user of it. Skipped where mypy is not installed."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

pytestmark = pytest.mark.long  # to read PyTorch takes a type checker a minute

torch = pytest.importorskip("torch", reason="no PyTorch, without which nothing has a type")

USER = """
import numpy
import torch
import pconv

x, w, m = torch.ones(1, 2, 8, 8), torch.ones(4, 2, 3, 3), torch.ones(1, 1, 8, 8)
reveal_type(pconv.functional.partial_conv(x, w, None, m))
reveal_type(pconv.functional.partial_conv(x, w, None, m, return_mask=True))
reveal_type(pconv.functional.masked_conv(x, w))
reveal_type(pconv.convert(torch.nn.Sequential()))
reveal_type(pconv.devices()[0].memory_bytes)
reveal_type(pconv.backends())
reveal_type(pconv.inpaint)
reveal_type(pconv.__version__)
"""
EXPECTED = [
    "Tensor",
    "tuple[Tensor, Tensor]",
    "tuple[Tensor, Union[Tensor, None]]",
    "Module",
    "int",
    "list[",
    "def (image: ndarray",
    "str",
]


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Runs mypy; its report. The package of this source tree is the one that it sees."""
    if importlib.util.find_spec("mypy"):
        command = [sys.executable, "-m", "mypy"]
    elif path := shutil.which("mypy"):
        command = [path, f"--python-executable={sys.executable}"]
    else:
        pytest.skip("no mypy; expected Debian's mypy or pip install mypy")
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("an installed package without its source")
    cache = tmp_path_factory.mktemp("mypy")

    def run(*arguments, folder=ROOT):
        done = subprocess.run(
            [*command, f"--cache-dir={cache}", "--no-error-summary", *arguments],
            cwd=folder, capture_output=True, text=True, env={**os.environ, "MYPYPATH": str(ROOT / "python")},
        )  # fmt: skip
        return done.stdout + done.stderr

    return run


def test_the_package_is_clean(mypy):
    if tuple(int(n) for n in re.findall(r"\d+", torch.__version__)[:2]) < (2, 6):
        pytest.skip(f"PyTorch {torch.__version__} has not all that the package uses where it is there; expected 2.6 or later")
    assert mypy() == ""


def _plain(revealed):
    """A type without the modules that its names are from, as old and new versions of mypy spell it."""
    text = re.sub(r"\b(?:[a-z_]\w*\.)+(?=\w)", "", revealed).replace("Tuple[", "tuple[").replace("List[", "list[")
    return re.sub(r"(\w+) \| None", r"Union[\1, None]", text.replace("builtins.", ""))


def test_users_see_what_comes_back(mypy, tmp_path):
    program = tmp_path / "user.py"
    program.write_text(USER)
    report = mypy("--follow-imports=silent", str(program), folder=tmp_path)
    assert "error" not in report, report
    found = [_plain(t) for t in re.findall(r'Revealed type is "(.*)"', report)]
    assert len(found) == len(EXPECTED), report
    for got, expected in zip(found, EXPECTED):
        assert got.startswith(expected), (got, expected)


def test_what_no_type_allows_is_seen(mypy, tmp_path):
    program = tmp_path / "wrong.py"
    program.write_text("import torch, pconv\npconv.functional.partial_conv(torch.ones(1), 3)\nt: int = pconv.devices()\n")
    report = mypy("--follow-imports=silent", str(program), folder=tmp_path)
    assert re.search(r"wrong.py:2: error", report) and re.search(r"wrong.py:3: error", report), report
