"""Network.save: what the command makes of the files, and what is refused."""

import json
import struct

import numpy
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import pconv  # noqa: E402
from command_line import filled_by_command  # noqa: E402
from pconv import nn as pnn  # noqa: E402
from test_network import UNet, classifier, holes, randomized  # noqa: E402


@pytest.mark.parametrize("normalized", [False, True])
def test_the_command_fills_as_the_network_does(command, tmp_path, normalized):
    torch.manual_seed(1)
    model = randomized(UNet())
    mask = torch.ones(1, 1, 64, 64)
    mask[:, :, 12:52, 12:52] = 0
    network = pconv.Network(model, (torch.zeros(1, 3, 64, 64), mask), device="cpu")
    mean, deviation = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) if normalized else ([0.0] * 3, [1.0] * 3)
    scale, shift = [0.05, 0.04, 0.06], [0.5, 0.4, 0.6]  # of an untrained network's outputs, into the range of samples
    path = tmp_path / "model.safetensors"
    words = {"mean": mean, "deviation": deviation} if normalized else {}
    network.save(path, name="small", output_scale=scale, output_shift=shift, **words)
    shown = command("model", "show", path)
    assert shown.startswith("small, 3 channels") and "down1.conv" in shown and "multiples of 4" in shown

    pixels = numpy.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype("uint8")
    got = filled_by_command(command, tmp_path, path, pixels, 1 - mask[0, 0].numpy())
    column = lambda values: torch.tensor(values).view(1, 3, 1, 1)  # noqa: E731
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    x = (x - column(mean)) / column(deviation) * mask
    with torch.no_grad():
        y = model(x, mask) * column(scale) + column(shift)
    expected = (y[0].permute(1, 2, 0) * 255).clamp(0, 255).numpy()
    inside = numpy.s_[20:44, 20:44]
    assert expected[inside].std() > 3, "a picture of one color would show nothing"
    assert abs(got[inside] - expected[inside]).max() <= 0.5 + 1e-2
    known = mask[0, 0].numpy() == 1
    assert (got[known] == pixels[known]).all()


def test_a_classifier_has_its_size_and_its_classes(command, tmp_path):
    torch.manual_seed(2)
    model = randomized(nn.Sequential(nn.Conv2d(3, 4, 1), classifier()))
    network = pconv.Network(model, torch.randn(1, 3, 32, 32), device="cpu")
    path = tmp_path / "classes.safetensors"
    network.save(path)
    shown = command("model", "show", path)
    assert "32x32" in shown and "5 classes" in shown, shown
    Image = pytest.importorskip("PIL.Image", reason="no Pillow; expected Debian's python3-pil")
    pixels = numpy.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    said = command("classify", tmp_path / "picture.png", "--model", path, "--device", "cpu")
    with torch.no_grad():
        logits = model(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)[0]
    order = logits.argsort(descending=True).tolist()
    told = [int(word) for line in said.splitlines() for word in line.split()[:2] if word.isdigit()]
    assert told and told[0] == order[0], said


def test_the_file_has_the_weights_under_their_names(tmp_path):
    model = randomized(UNet())
    network = pconv.Network(model, (torch.randn(1, 3, 16, 16), holes()), device="cpu")
    path = tmp_path / "model.safetensors"
    network.save(path)
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    description = json.loads(header.pop("__metadata__")["pconv.network"])
    assert description["layers"] == network.layers and description["name"] == "UNet"
    state = model.state_dict()
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = numpy.frombuffer(data[8 + size + begin : 8 + size + end], "<f4").reshape(entry["shape"])
        assert (values == state[name].numpy()).all(), name
    assert set(header) == {n for n in state if "num_batches" not in n}


def test_faults_leave_nothing_behind(tmp_path):
    network = pconv.Network(randomized(UNet()), (torch.randn(1, 3, 16, 16), holes()), device="cpu")
    with pytest.raises(FileNotFoundError, match=r"missing/model\.safetensors'"):
        network.save(tmp_path / "missing" / "model.safetensors")
    path = tmp_path / "model.safetensors"
    path.write_text("before")
    for arguments, text in (
        ({"deviation": [0.0, 1.0, 1.0]}, "deviation is not above 0"),
        ({"mean": [0.5]}, "mean is not a list of 3 numbers"),
        ({"size_multiple": 3}, "model.safetensors': layer 6"),
        ({"name": "two\nlines"}, "name is not a text without control"),
    ):
        with pytest.raises(ValueError, match=text) as caught:
            network.save(path, **arguments)
        assert ".part" not in str(caught.value)
    assert path.read_text() == "before" and [p.name for p in tmp_path.iterdir()] == [path.name]
    wide = pconv.Network(pnn.PartialConv2d(5, 3, 3).eval(), torch.randn(1, 5, 8, 8), device="cpu")
    with pytest.raises(ValueError, match="2 dimensions and 5 channels; expected 2 and at most 4"):
        wide.save(path)
    oblong = pconv.Network(nn.Sequential(nn.Flatten(), nn.Linear(24, 2)).eval(), torch.randn(1, 1, 4, 6), device="cpu")
    with pytest.raises(ValueError, match="expected height and width alike"):
        oblong.save(path)
