"""The package as it is installed: a hole filled on every device, a layer and a network where PyTorch is. Prints the versions.

Arguments: the modules that it has to have. Each loads; why one has no device is printed too."""

import pathlib
import sys

import numpy

import pconv

if pathlib.Path(pconv.__file__).resolve().is_relative_to(pathlib.Path(__file__).resolve().parents[2] / "python"):
    sys.exit(f"{pconv.__file__} is that of the source; expected an installed package")
absent = {b.name: b.reason for b in pconv.backends() if b.name in sys.argv[1:] and not b.device_count}
kinds = [d.backend for d in pconv.devices()]
if "cpu" not in kinds or any("module" in reason or not reason for reason in absent.values()):
    sys.exit(f"devices: {kinds}; absent: {absent}; expected the modules {sys.argv[1:]}, each loaded")

image = numpy.full((64, 64, 3), 40, numpy.uint8)
image[:, 32:] = 200
mask = numpy.zeros((64, 64), bool)
mask[20:30, 24:40] = True
for device in kinds:
    filled = pconv.inpaint(numpy.where(mask[..., None], 0, image).astype(numpy.uint8), mask, device=device)
    assert (filled[~mask] == image[~mask]).all() and (filled[mask] >= 35).all() and (filled[mask] <= 205).all(), device
words = [f"NumPy {numpy.__version__}"]

try:
    import torch
except ImportError:
    torch = None
if torch is not None:
    torch.manual_seed(0)
    layer = pconv.nn.PartialConv2d(3, 8, 7, padding=3, return_mask=True)
    x, valid = torch.rand(1, 3, 64, 64), torch.from_numpy(~mask)[None, None].float()
    y, updated = layer(x, valid)
    y.sum().backward()
    assert layer.weight.grad.abs().sum() > 0 and updated.shape == (1, 1, 64, 64)
    for device in kinds:
        got, _ = pconv.Network(layer.eval(), (x, valid), device=device)(x, valid)
        assert (got - y).abs().max() <= 1e-5 * y.abs().max(), device
    words.append(f"PyTorch {torch.__version__}")
print(", ".join([*words, f"devices {', '.join(kinds)}"]))
for backend, reason in absent.items():
    print(f"no {backend}: {reason}")
