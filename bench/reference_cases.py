"""The eager module held to what NVIDIA's own modules answered: the cases under tests/conformance/cases."""
import json
import pathlib
import struct

import torch

import nvidia_eager

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "conformance" / "cases"
TYPES = {"F32": torch.float32, "F64": torch.float64}
# Both run in float64: what remains is the order of sums. Relative to the largest element.
TOLERANCE = 1e-13


def read(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    settings = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + at for at in entry["data_offsets"])
        values = torch.frombuffer(bytearray(data[begin:end]), dtype=TYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"]).double()
    return settings, tensors


def answer(settings, tensors):
    numbers = lambda name: tuple(int(n) for n in settings[name].split(","))
    module = nvidia_eager.PartialConv(int(settings["spatial_dims"]), int(settings["in_channels"]), int(settings["out_channels"]),
                                      numbers("kernel"), numbers("stride"), numbers("padding"), numbers("dilation"),
                                      int(settings["groups"]), "bias" in tensors, settings["multi_channel"] == "true",
                                      float(settings["eps"])).double()
    module.weight.data = tensors["weight"]
    if module.bias is not None:
        module.bias.data = tensors["bias"]
    x, mask = tensors["input"].requires_grad_(), tensors.get("mask")
    output = module(x, mask)
    output.backward(tensors["grad_output"])
    _, updated = module.mask_side_without_mask(x) if mask is None else module.mask_side(mask)
    return {"output": output.detach(), "mask": updated[:, :1], "grad_input": x.grad, "grad_weight": module.weight.grad,
            "grad_bias": None if module.bias is None else module.bias.grad}


def check():
    """How many cases were compared, and a line for each that differs."""
    paths = sorted(FOLDER.glob("nvidia*.safetensors"))
    faults = []
    for path in paths:
        settings, tensors = read(path)
        for name, got in answer(settings, tensors).items():
            expected = tensors.get("expected." + name)
            if expected is None or got is None:
                continue
            scale = max(1.0, expected.abs().max().item())
            error = (got - expected.expand_as(got)).abs().max().item()
            if not error <= TOLERANCE * scale:
                faults.append(f"{path.stem}: {name} is off by {error:.3g}; expected at most {TOLERANCE * scale:.3g}")
    return len(paths), faults
