"""The training examples, as they stand, on generated pictures: they learn, resume exactly, and mixed precision agrees."""

import csv
import importlib.util
import json
import pathlib
import struct

import numpy
import pytest

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image", reason="no Pillow; expected Debian's python3-pil")

from command_line import filled_by_command  # noqa: E402

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Smooth coloured waves, which a small network can learn to continue."""
    folder = tmp_path_factory.mktemp("pictures")
    random = numpy.random.default_rng(0)
    y, x = numpy.mgrid[:48, :48] / 48
    for i in range(30):
        planes = [
            0.5 + 0.5 * numpy.sin(random.uniform(1, 5) * x + random.uniform(1, 5) * y + random.uniform(0, 6)) for _ in range(3)
        ]
        Image.fromarray((numpy.stack(planes, -1) * 255).astype("uint8")).save(folder / f"{i:02}.png")
    return folder


def train(pictures, out, *more, steps=80, every=40):
    module = load("train_inpainting")
    words = [str(pictures), "--out", str(out), "--size", "32", "--channels", "8,16,24", "--device", "cpu"]
    training = module.Training(module.parse([*words, "--steps", str(steps), "--every", str(every), *more]))
    return training, training.run()


@pytest.mark.long
def test_the_hole_error_halves_and_a_model_file_is_left(pictures, tmp_path, command):
    training, history = train(pictures, tmp_path)
    assert history[-1]["hole_error"] < 0.5 * history[0]["hole_error"]
    assert history[-1]["psnr"] > history[0]["psnr"] + 5
    with open(tmp_path / "log.csv") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [0, 40, 80]
    rows = Image.open(tmp_path / "valid_000080.png")
    assert rows.size == (3 * 32, 8 * 32)
    data = (tmp_path / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    for name, tensor in training.model.state_dict().items():
        if tensor.is_floating_point():
            begin, end = header[name]["data_offsets"]
            values = numpy.frombuffer(data[8 + size + begin : 8 + size + end], "<f4").reshape(tensor.shape)
            assert (values == tensor.numpy()).all(), name
    assert not list(tmp_path.glob("*.part"))

    pixels = numpy.array(Image.open(sorted(pictures.iterdir())[-1]))
    hole = numpy.zeros((48, 48), bool)
    hole[12:36, 12:36] = True
    got = filled_by_command(command, tmp_path, tmp_path / "model.safetensors", pixels, hole)
    mask = torch.from_numpy(~hole)[None, None].float()
    target = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        expected = (training.model.eval()(target * mask, mask)[0].permute(1, 2, 0) * 255).clamp(0, 255).numpy()
    inside = numpy.s_[18:30, 18:30]
    assert abs(got[inside] - expected[inside]).max() <= 0.5 + 1e-2


@pytest.mark.long
def test_resuming_is_exact(pictures, tmp_path):
    whole, history = train(pictures, tmp_path / "whole", steps=20, every=10)
    train(pictures, tmp_path / "parts", steps=10, every=10)
    parts, again = train(pictures, tmp_path / "parts", "--resume", steps=20, every=10)
    assert again == history
    for (name, a), b in zip(whole.model.state_dict().items(), parts.model.state_dict().values()):
        assert torch.equal(a, b), name


@pytest.mark.long
def test_bf16_agrees_with_f32_within_noise(pictures, tmp_path):
    """Noise is what another seed makes of the same training."""
    errors = {}
    for name, more in {"f32": (), "bf16": ("--amp", "bf16"), "seed": ("--seed", "1")}.items():
        errors[name] = train(pictures, tmp_path / name, *more, steps=40, every=40)[1]
    start, end = errors["f32"][0]["hole_error"], errors["f32"][-1]["hole_error"]
    noise = max(abs(errors["seed"][-1]["hole_error"] - end), 0.05 * start)
    assert abs(errors["bf16"][-1]["hole_error"] - end) <= 2 * noise
    assert errors["bf16"][-1]["hole_error"] < 0.7 * start


def test_faults_of_the_command_line_are_told(pictures, tmp_path, capsys):
    module = load("train_inpainting")
    for words, text in ((["--channels", "8,x"], "16,32,64"), (["--size", "33"], "divisible by 8")):
        with pytest.raises(SystemExit):
            module.parse([str(pictures), "--out", str(tmp_path), *words])
        assert text in capsys.readouterr().err
    with pytest.raises(SystemExit, match="expected at least 2"):
        module.Training(module.parse([str(tmp_path), "--out", str(tmp_path / "out")]))
    with pytest.raises(SystemExit, match="checkpoint of a run"):
        module.Training(module.parse([str(pictures), "--out", str(tmp_path / "out"), "--resume"]))


@pytest.mark.long
def test_the_classifier_learns_with_either_padding():
    pytest.importorskip("sklearn", reason="no scikit-learn; expected Debian's python3-sklearn")
    module = load("train_classifier")
    for kind in module.KINDS:
        curve = module.train(kind, epochs=4)
        assert curve[0] < 0.3 and curve[-1] > 0.9, (kind, curve)
