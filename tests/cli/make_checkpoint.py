"""Checkpoints for the tests, of a network case's tensors: make_checkpoint.py CASE OUT FORMAT [PREFIX]. Writes what torch.save
writes, without PyTorch: the format zip or legacy, a hostile pickle, or a safetensors file; PREFIX stands before every name. Or, in
the format keras, with h5py, what Keras writes of a PConv-Keras U-Net of 4 levels."""
import io
import json
import math
import pickle
import random
import struct
import sys
import types
import zipfile


class Array:
    """F32 of any bytes, in C order."""

    def __init__(self, shape, data):
        self.shape, self.data, self.size = tuple(shape), data, math.prod(shape)


def case_tensors(path):
    """The names and shapes of the case, with other numbers."""
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        metadata = json.loads(file.read(length))["__metadata__"]
    numbers = random.Random(7)
    shapes = {name: form["shape"] for name, form in json.loads(metadata["tensors"]).items() if name != "input"}
    return {name: Array(shape, numbers.randbytes(4 * math.prod(shape))) for name, shape in shapes.items()}


# What pickles of PyTorch name, so that ours name it too.
torch = types.ModuleType("torch")
utils = types.ModuleType("torch._utils")
sys.modules.update({"torch": torch, "torch._utils": utils})


def _rebuild_tensor_v2(*arguments):
    return arguments


class FloatStorage:
    pass


_rebuild_tensor_v2.__module__ = "torch._utils"
utils._rebuild_tensor_v2 = _rebuild_tensor_v2
FloatStorage.__module__ = "torch"
torch.FloatStorage = FloatStorage


class Stored:
    def __init__(self, key, data):
        self.key, self.data, self.count = key, data, len(data) // 4


class Tensor:
    """A tensor that fills its storage; or, where it is `spread`, every second element of it from the second on."""

    def __init__(self, key, array, spread):
        data = array.data
        if spread:
            data = b"".join(b"void" + data[i:i + 4] for i in range(0, len(data), 4))
        self.stored, self.array, self.step = Stored(key, data), array, 2 if spread else 1

    def __reduce__(self):
        strides, step = [], self.step
        for size in reversed(self.array.shape):
            strides.insert(0, step)
            step *= size
        return _rebuild_tensor_v2, (self.stored, self.step - 1, self.array.shape, tuple(strides), False, {})


class Hostile:
    def __reduce__(self):
        import os
        return os.system, ("touch executed",)


def pickled(value, legacy):
    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if isinstance(item, Stored):
                return ("storage", FloatStorage, item.key, "cpu", item.count) + ((None,) if legacy else ())
            return None

    stream = io.BytesIO()
    Pickler(stream, 2).dump(value)
    return stream.getvalue()


def write_keras(out):
    """Kernels whose element [y, x, i, o] is y + 8 x + i / 1024 + o, a bias of o, and 2 for all else."""
    import h5py
    import numpy as np

    channels = [3, 64, 128, 256, 512]
    layers = {"inputs_img": {}}

    def conv(name, kernel, size, inputs, outputs):
        y, x, i, o = np.ogrid[:size, :size, :inputs, :outputs]
        layers[name] = {kernel: (y + 8 * x + i / 1024 + o).astype("f4"), "bias": np.arange(outputs, dtype="f4")}

    def norm(name, outputs):
        layers[name] = {key: np.full(outputs, 2, "f4") for key in ("gamma", "beta", "moving_mean", "moving_variance")}

    for level in range(1, 5):
        conv(f"p_conv2d_{level}", "img_kernel", (7, 5, 5, 3)[level - 1], channels[level - 1], channels[level])
        if level > 1:
            norm(f"EncBN{level}", channels[level])
    for level in range(4, 0, -1):
        conv(f"p_conv2d_{9 - level}", "img_kernel", 3, channels[level] + channels[level - 1], channels[level - 1])
        if level > 1:
            norm(f"batch_normalization_{level}", channels[level - 1])
    conv("outputs_img", "kernel", 1, 3, 3)
    with h5py.File(out, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = np.array([f"{layer}/{key}:0".encode() for key in weights], "S64")
            for key, values in weights.items():
                group.create_dataset(f"{layer}/{key}:0", data=values)


def main(case, out, form, prefix=""):
    if form == "keras":
        return write_keras(out)
    arrays = {prefix + name: array for name, array in case_tensors(case).items()}
    arrays[prefix + "enc2_bn.num_batches_tracked"] = Array((1,), bytes(4))
    arrays[prefix + "extra.weight"] = Array((2,), bytes(8))
    if form == "safetensors":
        header, data = {}, b""
        for name, array in arrays.items():
            header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(array.data)]}
            data += array.data
        text = json.dumps(header).encode()
        with open(out, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + data)
        return
    tensors = {name: Tensor(str(i), array, name.endswith("bias")) for i, (name, array) in enumerate(arrays.items())}
    root = {"epoch": 3, "optimizer": {"lr": 0.5, "groups": [1, 2]}, "state_dict": tensors}
    if form == "hostile":
        root["extra"] = Hostile()
    if form == "legacy":
        with open(out, "wb") as file:
            for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}):
                file.write(pickle.dumps(value, 2))
            file.write(pickled(root, True) + pickle.dumps([t.stored.key for t in tensors.values()], 2))
            for tensor in tensors.values():
                file.write(struct.pack("<q", tensor.stored.count) + tensor.stored.data)
        return
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(root, False))
        for tensor in tensors.values():
            archive.writestr(f"archive/data/{tensor.stored.key}", tensor.stored.data)


main(*sys.argv[1:])
