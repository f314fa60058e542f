#!/usr/bin/env python3
"""Makes the reference cases of padding: PyTorch pads input and mask, and NVIDIA's formula runs on both without padding.

    padding_cases.py FOLDER      needs PyTorch 2.0 or later; the cases in cases/ were made with 2.6

The plain convolutions are torch.nn's own modules, with their padding_mode and padding='same'.
"""
import json
import pathlib
import struct
import sys

import torch
import torch.nn.functional as F

EPS = 1e-8
TORCH_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def save(path, tensors, metadata):
    header = {"__metadata__": metadata}
    data = b""
    for name, tensor in tensors.items():
        kind, code = ("F64", "d") if tensor.dtype == torch.float64 else ("F32", "f")
        values = tensor.contiguous().flatten().tolist()
        part = struct.pack("<%d%s" % (len(values), code), *values)
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def padded(x, before, behind, mode):
    both = [amount for pair in reversed(list(zip(before, behind))) for amount in pair]
    return F.pad(x, both, mode=TORCH_MODES[mode])


def partial_conv(x, mask, w, b, s):
    conv = [F.conv1d, F.conv2d, F.conv3d][len(s["kernel"]) - 1]
    settings = dict(stride=s["stride"], dilation=s["dilation"])
    m = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype) if mask is None else mask
    counted = x.shape[1] if s["multi"] else 1
    if s["multi"] and m.shape[1] == 1:
        m = m.expand(-1, counted, *m.shape[2:])
    data = padded(x * m, s["padding"], s["end"], s["mode"])
    plane = padded(m, s["padding"], s["end"], s["mode"])
    with torch.no_grad():
        total = conv(plane, torch.ones(1, counted, *s["kernel"], dtype=x.dtype), **settings)
        u = total.clamp(0, 1)
        window = counted * torch.tensor(s["kernel"]).prod().item()
        ratio = window / (total + EPS) * u
    raw = conv(data, w, None, groups=s["groups"], **settings)
    if b is None:
        return raw * ratio, u
    return (raw * ratio + b.view(1, -1, *[1] * len(s["kernel"]))) * u, u


def plain_conv(x, w, b, s):
    module = [torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d][len(s["kernel"]) - 1]
    made = module(x.shape[1], w.shape[0], s["kernel"], stride=s["stride"], padding=s["torch_padding"], dilation=s["dilation"],
                  groups=s["groups"], bias=b is not None, padding_mode=s["mode"], dtype=x.dtype)
    parameters = {"weight": w} if b is None else {"weight": w, "bias": b}
    return torch.func.functional_call(made, parameters, (x,))


def make(folder, name, size, kernel, padding, end=None, mode="zeros", stride=1, dilation=1, groups=1, channels=(4, 6), batch=2,
         mask="binary", multi=False, bias=True, plain=None):
    torch.manual_seed(sum(map(ord, name)))
    dims = len(size)
    each = lambda value: list(value) if isinstance(value, (list, tuple)) else [value] * dims
    s = dict(kernel=each(kernel), padding=each(padding), end=each(padding if end is None else end), mode=mode, stride=each(stride),
             dilation=each(dilation), groups=groups, multi=multi, torch_padding=plain)
    x = torch.randn(batch, channels[0], *size)
    w = torch.randn(channels[1], channels[0] // groups, *s["kernel"]) / 4
    b = torch.randn(channels[1]) if bias else None
    m = None
    if mask is not None and plain is None:
        m = (torch.rand(batch, channels[0] if multi else 1, *size) < 0.6).float()
        if mask == "soft":
            m = m * torch.rand_like(m)

    def run(dtype, backward):
        leaves = [t.to(dtype).requires_grad_() for t in (x, w)] + ([b.to(dtype).requires_grad_()] if bias else [])
        bb = leaves[2] if bias else None
        y, u = (plain_conv(leaves[0], leaves[1], bb, s), None) if plain is not None else partial_conv(
            leaves[0], None if m is None else m.to(dtype), leaves[1], bb, s)
        grads = torch.autograd.grad(y, leaves, dy.to(dtype)) if backward else None
        return y.detach(), u, grads

    with torch.no_grad():
        dy = torch.zeros(())
        shape = run(torch.float64, False)[0].shape
    dy = torch.randn(shape)
    y, u, grads = run(torch.float64, True)
    tensors = {"input": x, "weight": w}
    if bias:
        tensors["bias"] = b
    if m is not None:
        tensors["mask"] = m
    tensors["grad_output"] = dy
    tensors["expected.output"] = y
    if u is not None:
        tensors["expected.mask"] = u
    for key, grad in zip(["input", "weight", "bias"], grads):
        tensors["expected.grad_" + key] = grad
    tensors["reference_error.output"] = (run(torch.float32, False)[0].double() - y).abs().max().reshape(1)
    text = lambda values: ",".join(map(str, values))
    metadata = dict(op="masked_conv" if plain is not None else "partial_conv", spatial_dims=str(dims), kernel=text(s["kernel"]),
                    stride=text(s["stride"]), padding=text(s["padding"]), padding_end=text(s["end"]), padding_mode=mode,
                    dilation=text(s["dilation"]), groups=str(groups), in_channels=str(channels[0]), out_channels=str(channels[1]),
                    multi_channel="true" if multi or plain is not None else "false", mask_window="all_channels",
                    normalization="weight_magnitude" if plain is not None else "window_ratio", eps=repr(EPS),
                    source="PyTorch %s: %s" % (torch.__version__.split("+")[0], "torch.nn.Conv%dd" % dims if plain is not None else
                                               "F.pad of input * mask and mask, then NVIDIA's formula"))
    save(folder / (name + ".safetensors"), tensors, metadata)


def main():
    folder = pathlib.Path(sys.argv[1])
    make(folder, "padding_reflect2d_k3", (9, 8), 3, 1, mode="reflect")
    make(folder, "padding_reflect1d_uneven", (13,), 5, 2, 4, mode="reflect", mask="soft")
    make(folder, "padding_reflect3d_k3_nobias", (4, 5, 6), 3, 1, mode="reflect", bias=False, batch=1)
    make(folder, "padding_reflect2d_nomask", (7, 8), 5, 2, mode="reflect", mask=None)
    make(folder, "padding_replicate2d_k5_stride2", (9, 11), 5, (3, 2), (0, 6), mode="replicate", stride=2, mask="soft")
    make(folder, "padding_replicate3d_multi", (3, 5, 4), (1, 3, 2), (0, 1, 2), (0, 2, 0), mode="replicate", multi=True, batch=1)
    make(folder, "padding_circular2d_dilated_groups", (8, 9), 3, 2, mode="circular", dilation=2, groups=2, multi=True)
    make(folder, "padding_circular1d_whole_input", (5,), 4, 5, mode="circular", stride=3)
    make(folder, "padding_zeros2d_same_k4", (8, 9), 4, 1, 2)
    make(folder, "padding_zeros2d_uneven_stride2_nomask", (9, 8), (2, 3), (0, 3), (3, 0), stride=2, mask=None)
    make(folder, "padding_plain2d_circular", (7, 8), 3, 1, mode="circular", plain=1)
    make(folder, "padding_plain2d_same", (8, 7), (3, 5), (2, 4), (2, 4), dilation=2, plain="same")


main()
