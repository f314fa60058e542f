"""The reference cases under tests/conformance/cases: what the reference modules themselves answered in float64."""

import json
import pathlib
import struct

import torch

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "conformance" / "cases"
_TYPES = {"F32": torch.float32, "F64": torch.float64}


def names():
    """All but those with padding modes or uneven padding, which the package's functions do not take."""
    return sorted(p.stem for p in FOLDER.glob("*.safetensors") if not p.stem.startswith("padding_"))


def read(name):
    data = (FOLDER / f"{name}.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    settings = header.pop("__metadata__")
    tensors = {}
    for key, entry in header.items():
        begin, end = (8 + size + at for at in entry["data_offsets"])
        tensors[key] = torch.frombuffer(bytearray(data[begin:end]), dtype=_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return settings, tensors


def numbers(settings, name):
    return tuple(int(n) for n in settings[name].split(","))
