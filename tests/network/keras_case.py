#!/usr/bin/env python3
"""Makes the reference case of PConv-Keras: its U-Net of four levels, in float64, from what its PConv2D and its model say.

    keras_case.py FOLDER      needs NumPy; the case in cases/ was made with 1.24

Everything is as Keras has it: pictures and masks [N, H, W, C], a plane of the mask for every channel, kernels [kh, kw, in, out], the
padding made by hand, the ratio |K| / (sum + 1e-8), no masking behind the bias. Only the file is as pconv has it, and its
tensors, which are those that `pconv model import` writes: kernels [out, in, kh, kw] times |K|.
"""
import json
import pathlib
import struct
import sys

import numpy as np

SEED, LEVELS, HEIGHT, WIDTH = 20180420, 4, 48, 64
CHANNELS = [3, 64, 128, 256, 512]
KERNELS = [7, 5, 5, 3]
GOLDEN = 0x9E3779B97F4A7C15


def splitmix(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def seeded(name, shape, offset, scale):
    """What a case's file says of a tensor, and its values; float32 as the reader makes them."""
    begin = 0xCBF29CE484222325
    for byte in name.encode():
        begin = (begin ^ byte) * 0x100000001B3 % 2**64
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN) + np.uint64((begin + SEED) % 2**64)
        number = (splitmix(steps) >> np.uint64(40)).astype(np.float64)
    values = (offset + scale * (number / (1 << 23) - 1)).astype(np.float32)
    return {"shape": list(shape), "offset": offset, "scale": scale}, values.reshape(shape)


class Weights:
    def __init__(self):
        self.described = {}

    def make(self, name, shape, offset, scale):
        self.described[name], values = seeded(name, shape, offset, scale)
        return values.astype(np.float64)

    def conv(self, name, size, inputs, outputs):
        # Sums over s taps are divided by s: activations stay about 1.
        scale = 2.0 ** np.round(np.log2(2 * np.sqrt(size * size * inputs)))
        kernel = self.make(f"{name}.conv.weight", (outputs, inputs, size, size), 0.0, scale).transpose(2, 3, 1, 0)
        return kernel / (size * size), self.make(f"{name}.conv.bias", (outputs,), 0.0, 0.125)

    def norm(self, name, channels):
        return [self.make(f"{name}.bn.{part}", (channels,), offset, scale)
                for part, offset, scale in (("weight", 1.0, 0.125), ("bias", 0.0, 0.125), ("running_mean", 0.0, 0.125),
                                            ("running_var", 1.0, 0.5))]


def convolved(x, kernel, stride):
    """'valid', channels last."""
    size = kernel.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return np.tensordot(windows, kernel, axes=([4, 5, 3], [0, 1, 2]))


class Unet:
    def __init__(self, weights, dtype):
        self.weights, self.dtype = weights, dtype

    def pconv(self, x, mask, name, size, outputs, stride):
        kernel, bias = (w.astype(self.dtype) for w in self.weights[name][:2])
        pad = [(0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)]
        x, mask = np.pad(x, pad), np.pad(mask, pad)
        # The kernel of ones gives every output channel the same sum.
        total = convolved(mask, np.ones((size, size, mask.shape[3], 1), self.dtype), stride)
        ratio = self.dtype(size * size) / (total + self.dtype(1e-8))
        updated = np.clip(total, 0, 1)
        y = convolved(x * mask, kernel, stride) * (ratio * updated) + bias
        return y, np.repeat(updated, outputs, axis=3)

    def norm(self, y, name):
        if len(self.weights[name]) == 2:
            return y
        gamma, beta, mean, variance = (w.astype(self.dtype) for w in self.weights[name][2:])
        return gamma * (y - mean) / np.sqrt(variance + self.dtype(1e-3)) + beta

    def run(self, x, mask):
        x, mask = x.astype(self.dtype), mask.astype(self.dtype)
        encoded = [(x, mask)]
        self.holes = []
        for level in range(1, LEVELS + 1):
            name = f"enc{level}"
            x, mask = self.pconv(x, mask, name, KERNELS[level - 1], CHANNELS[level], 2)
            x = np.maximum(self.norm(x, name), 0)
            encoded.append((x, mask))
            self.holes.append(float((mask == 0).mean()))
        for level in range(LEVELS, 0, -1):
            name = f"dec{level}"
            below, below_mask = encoded[level - 1]
            twice = lambda t: t.repeat(2, axis=1).repeat(2, axis=2)
            x = np.concatenate([below, twice(x)], axis=3)
            mask = np.concatenate([below_mask, twice(mask)], axis=3)
            x, mask = self.pconv(x, mask, name, 3, CHANNELS[level - 1], 1)
            x = self.norm(x, name)
            x = np.where(x < 0, self.dtype(0.2) * x, x)
            self.holes.append(float((mask == 0).mean()))
        kernel, bias = (w.astype(self.dtype) for w in self.weights["out"])
        return 1 / (1 + np.exp(-(convolved(x, kernel, 1) + bias)))


def make_weights():
    made = Weights()
    weights = {}
    for level in range(1, LEVELS + 1):
        weights[f"enc{level}"] = [*made.conv(f"enc{level}", KERNELS[level - 1], CHANNELS[level - 1], CHANNELS[level])]
    for level in range(LEVELS, 0, -1):
        weights[f"dec{level}"] = [*made.conv(f"dec{level}", 3, CHANNELS[level - 1] + CHANNELS[level], CHANNELS[level - 1])]
    for name, of_layer in weights.items():
        if name not in ("enc1", "dec1"):
            of_layer += made.norm(name, of_layer[1].size)
    weights["out"] = [made.make("out.weight", (3, 3, 1, 1), 0.0, 1.0).transpose(2, 3, 1, 0), made.make("out.bias", (3,), 0.0, 0.125)]
    return made, weights


def main(folder):
    made, weights = make_weights()
    picture = made.make("input", (1, 3, HEIGHT, WIDTH), 0.5, 0.5).transpose(0, 2, 3, 1)
    # Strokes, a hole that two levels do not close, and single pixels.
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    hole = (np.abs(y - 40 - 4 * np.sin(x / 5)) < 2) | ((y >= 6) & (y < 34) & (x >= 9) & (x < 41)) | ((7 * y + 3 * x) % 23 == 0)
    plane = np.where(hole, 0.0, 1.0)[None, :, :, None]
    mask = plane.repeat(3, axis=3)
    exact = Unet(weights, np.float64)
    expected = exact.run(picture, mask)
    # In holes that are left Keras has the bias, pconv 0: there are none, but there were.
    assert exact.holes[-1] == 0 and exact.holes[0] > 0 and exact.holes[1] > 0, exact.holes
    error = np.abs(Unet(weights, np.float32).run(picture, mask) - expected).max()
    tensors = {"expected.output": expected.transpose(0, 3, 1, 2), "reference_error.output": np.array([error], np.float64),
               "mask": plane.transpose(0, 3, 1, 2).astype(np.float32)}
    name = f"keras-{LEVELS}-{HEIGHT}-{WIDTH}"
    header = {"__metadata__": {"name": name, "seed": str(SEED), "net": "keras_pconv", "layers": str(LEVELS),
                               "normalization": "mask_sum", "tensors": json.dumps(made.described, separators=(",", ":"))}}
    data = b""
    for key, values in tensors.items():
        part = np.ascontiguousarray(values).tobytes()
        header[key] = {"dtype": {"float64": "F64", "float32": "F32"}[values.dtype.name], "shape": list(values.shape),
                       "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (pathlib.Path(folder) / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    print(f"{name}: holes {exact.holes}, output {expected.min():.3f} to {expected.max():.3f} (deviation {expected.std():.3f}), "
          f"float32's error {error:.3g}")


if __name__ == "__main__":
    main(sys.argv[1])
