"""The snippets in Python of README.md run as they stand there."""

import pathlib
import re

import pytest

pytest.importorskip("torch")

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_readme():
    text = (ROOT / "README.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", text, re.S)
    assert snippets
    for snippet in snippets:
        scope = {}
        exec(snippet, scope)
        assert scope["filled"].shape == (64, 64, 3) and scope["y"].shape == (1, 64, 256, 256)
        assert scope["layer"].weight.grad is not None
