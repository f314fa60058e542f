"""The snippets in Python of README.md and docs/python.md that need nothing else run as they stand there."""

import pathlib
import re

import pytest

torch = pytest.importorskip("torch")

import pconv  # noqa: E402

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


def test_whole_networks(tmp_path, monkeypatch):
    if not any(b.name == "vulkan" and b.device_count for b in pconv.backends()):
        pytest.skip("no Vulkan device, on which the snippet runs")
    text = (ROOT / "docs" / "python.md").read_text().split("## Whole networks")[1]
    snippet = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    monkeypatch.chdir(tmp_path)
    model = pconv.nn.PartialConv2d(3, 3, 3, padding=1)
    scope = {"pconv": pconv, "model": model, "image": torch.rand(1, 3, 16, 16), "mask": torch.ones(1, 1, 16, 16)}
    exec(snippet, scope)
    assert scope["filled"].shape == (1, 3, 16, 16) and (tmp_path / "model.safetensors").exists()
