#!/usr/bin/env python3
"""A U-Net for inpainting, that of examples/train_inpainting.py, on one picture: with NVIDIA's operations, with pconv.nn's modules, and as one pconv.Network.

    PYTHONPATH=python bench/compare_network.py --device cpu

Contenders take turns; medians in milliseconds. A mask that is new at each call has its mask side computed each time.
"""
import argparse
import copy
import pathlib
import statistics
import sys
import time

import torch
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "bench")]

import nvidia_eager  # noqa: E402
import pconv  # noqa: E402
import pconv.nn  # noqa: E402
from train_inpainting import UNet  # noqa: E402


class Nvidia(nn.Module):
    """The module's operations on its weights."""

    def __init__(self, ours):
        super().__init__()
        self.conv = nvidia_eager.PartialConv(
            2, ours.in_channels, ours.out_channels, ours.kernel_size, ours.stride, ours.padding, ours.dilation, ours.groups,
            ours.bias is not None, ours.multi_channel, ours.eps)
        self.conv.weight, self.conv.bias = ours.weight, ours.bias

    def forward(self, x, mask):
        side = self.conv.mask_side(mask)
        return self.conv(x, mask, side), side[1]


def with_nvidias_operations(model):
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, pconv.nn.PartialConv2d):
                setattr(module, name, Nvidia(child))
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu", help="of pconv.Network; PyTorch's own runs on the CPU; default: cpu")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--channels", default="64,128,256,512")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = UNet([int(c) for c in options.channels.split(",")]).eval()
    x = torch.rand(1, 3, options.size, options.size)
    masks = [torch.ones(1, 1, options.size, options.size) for _ in range(2)]
    for i, mask in enumerate(masks):
        mask[:, :, options.size // 4 : 3 * options.size // 4 - i, options.size // 4 : 3 * options.size // 4] = 0
    network = pconv.Network(model, (x, masks[0]), device=options.device)
    nvidia = with_nvidias_operations(model)
    calls = [0]

    def fresh():
        calls[0] += 1
        return masks[calls[0] % 2].clone()

    contenders = {
        "NVIDIA's operations": lambda: nvidia(x, fresh()),
        "pconv.nn, a new mask at each call": lambda: model(x, fresh()),
        "pconv.nn, one mask": lambda: model(x, masks[0]),
        "pconv.Network, a new mask at each call": lambda: network(x, fresh()),
        "pconv.Network, one mask": lambda: network(x, masks[0]),
    }
    times = {name: [] for name in contenders}
    with torch.no_grad():
        expected = nvidia(x, masks[0])
        for answer in (model(x, masks[0]), network(x, masks[0])):
            assert (answer - expected).abs().max() <= 1e-4 * expected.abs().max(), "the contenders disagree"
        for round_ in range(options.rounds + 1):
            for name, call in contenders.items():
                begun = time.perf_counter()
                call()
                if round_ > 0:
                    times[name].append(1e3 * (time.perf_counter() - begun))
    print(f"PyTorch {torch.__version__}, {options.threads} threads, U-Net {options.channels} at {options.size}x{options.size}, "
          f"pconv.Network on {options.device}")
    for name, taken in times.items():
        print(f"{name:40} {statistics.median(taken):8.1f} ms")


if __name__ == "__main__":
    main()
