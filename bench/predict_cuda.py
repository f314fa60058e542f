#!/usr/bin/env python3
"""Predicts what each CUDA row takes for the rows of the benchmark tables, and which is the fastest, from bytes, products and
the instructions that the compiler gives to an element. Predictions, to be read beside what `pconv bench` measures on the GPU.

    bench/predict_cuda.py                   # both tables of docs/performance.md
    bench/predict_cuda.py --gpu rtx3090 --rows f16    # every row's time
    bench/predict_cuda.py --check [LIBRARY]           # that a CUDA device chooses by these times

The sum of: the mask side; passes over memory that a row needs; the product itself, which takes as long as its bytes or its
multiply-adds (for cuda:igemm also its instructions), whichever is longest; and the launches. What is not known before a GPU has
run it is in the table EFFICIENCY.
"""
import argparse
import dataclasses
import math

import seed_tables


@dataclasses.dataclass
class Gpu:
    """By the data sheet, at the boost clock. Multiply-adds of a multiprocessor in a cycle: f32 without tensor cores, and what
    mma instructions reach with sums in f32; `fused` is what cuDNN's own instructions reach beyond those."""
    name: str
    multiprocessors: int
    gigahertz: float
    bandwidth: float  # GB/s
    f32: int
    tensor: dict
    fused: float

    def rate(self, per_cycle):
        return self.multiprocessors * self.gigahertz * 1e9 * per_cycle


# Hopper's mma reaches 0.62 of what its wgmma does, which cuDNN uses.
GPUS = {
    "rtx3090": Gpu("RTX 3090", 82, 1.695, 936, 128, {"tf32": 128, "f16": 256}, 1.0),
    "h100": Gpu("H100 (SXM)", 132, 1.755, 3350, 128, {"tf32": 635, "f16": 1270}, 1 / 0.62),
}
TYPES = ("f32", "tf32", "f16")
ELEMENT = {"f32": 4, "tf32": 4, "f16": 2}
LANES = 128  # instructions of threads that a multiprocessor begins in a cycle
LAUNCH = 2.5e-6  # seconds, of work that is one kernel after another

# Instructions an element: docs/performance.md, "CUDA", and tests/cuda_shim/kernel_resources.txt has what they are held to.
MASK_SIDE, MASK_SIDE_OF_PLANES = 43, 73
MASK_PACK, MASK_PACK_OF_PLANES = 25, 15
COPY, EPILOGUE = {"f32": 9, "tf32": 9, "f16": 11}, 105

# Assumed: shares of bandwidth and of multiply-adds. f16 and TF32 products by mma run at 0.88 behind a long depth.
EFFICIENCY = {"bandwidth": 0.85, "igemm": 0.88, "cudnn": 0.85, "cudnn_f32": 0.75, "direct": 0.5}
IGEMM_STEP = {"tf32": 16, "f16": 32}  # of the depth
# What a warp begins in a step, of sm_90's code: 32 multiplies, 64 additions of their sums, loads and copies. A warp's step is 64 x 32.
IGEMM_INSTRUCTIONS = {"tf32": {64: 261, 128: 266}, "f16": {64: 193, 128: 171}}
IGEMM_NEXT_TAP = 80  # more where a tap ends
# What a block takes besides its steps: filling the pipeline, the epilogue through shared memory; in steps.
IGEMM_OUTSIDE = 4



@dataclasses.dataclass
class Layer:
    batch: int
    in_channels: int
    out_channels: int
    groups: int
    input_size: tuple
    output_size: tuple
    kernel: tuple
    mask: str  # "kept": the layer before wrote its output masked
    multi_channel: bool = False

    @property
    def inputs(self):
        return self.batch * self.in_channels * math.prod(self.input_size)

    @property
    def positions(self):
        return self.batch * math.prod(self.output_size)

    @property
    def outputs(self):
        return self.positions * self.out_channels

    @property
    def weights(self):
        return self.out_channels * self.depth

    @property
    def depth(self):
        return self.in_channels // self.groups * math.prod(self.kernel)


def moved(gpu, count_bytes):
    """Seconds to read and write so many bytes."""
    return count_bytes / (gpu.bandwidth * 1e9 * EFFICIENCY["bandwidth"])


def streamed(gpu, count_bytes, count_elements=0, instructions=0):
    """A pass over memory."""
    return max(moved(gpu, count_bytes), count_elements * instructions / gpu.rate(LANES)) + LAUNCH


def mask_side(gpu, layer):
    planes = layer.in_channels if layer.multi_channel else 1
    pixels = 0 if layer.mask == "none" else layer.batch * math.prod(layer.input_size)
    if planes == 1 or not pixels:
        packing = streamed(gpu, 2 * pixels, pixels, MASK_PACK)  # without a mask it clears the tiles' flags
        return packing + streamed(gpu, pixels + 9 * layer.positions, layer.positions, MASK_SIDE)
    # Each plane read and written, and halves of words, their sums, for the windows.
    packing = streamed(gpu, (2 * planes + 2) * pixels, planes * pixels, MASK_PACK_OF_PLANES)
    return packing + streamed(gpu, 2 * pixels + 9 * layer.positions, layer.positions, MASK_SIDE_OF_PLANES)


def product(gpu, layer, kind, rate, traffic):
    """The product and what it reads and writes."""
    work = layer.outputs * layer.depth / rate
    return max(work, moved(gpu, traffic)) + LAUNCH


def cudnn(gpu, layer, kind):
    size = ELEMENT[kind]
    # The mask is multiplied in by a pass: only input that is masked already is read in place.
    passed = layer.inputs * (2 * size + layer.multi_channel)
    time = 0 if layer.mask in ("none", "kept") else streamed(gpu, passed, layer.inputs, COPY[kind])
    traffic = (layer.inputs + layer.weights + layer.outputs) * size
    if kind == "f32":
        # Sums, and a pass that makes results of them.
        time += product(gpu, layer, kind, gpu.rate(gpu.f32) * EFFICIENCY["cudnn_f32"], traffic)
        return time + streamed(gpu, 2 * layer.outputs * size, layer.outputs, EPILOGUE)
    per_cycle = gpu.tensor[kind] * gpu.fused * EFFICIENCY["cudnn"] * filled(layer, 8)
    return time + product(gpu, layer, kind, gpu.rate(per_cycle), traffic)


def filled(layer, vector):
    """The share of a tensor core's operands that groups of few channels fill."""
    channels = layer.out_channels // layer.groups
    inputs = layer.in_channels // layer.groups
    return channels / (math.ceil(channels / vector) * vector) * inputs / (math.ceil(inputs / vector) * vector)


def igemm(gpu, layer, kind):
    vector = 16 // ELEMENT[kind]
    inputs = layer.in_channels // layer.groups
    if kind == "f32" or (layer.groups > 1 and inputs % vector):
        return None
    columns = layer.out_channels // layer.groups
    rows = math.ceil(layer.positions / 128)
    wide = columns > 64 and rows * math.ceil(columns / 128) * layer.groups >= gpu.multiprocessors
    width = 128 if wide else 64
    blocks = rows * math.ceil(columns / width) * layer.groups
    depth = math.prod(layer.kernel) * math.ceil(inputs / vector) * vector
    steps = math.ceil(depth / IGEMM_STEP[kind])
    narrow = rows * math.ceil(columns / 64) * layer.groups
    slices = max(1, min(gpu.multiprocessors // narrow, steps // 8, 16))
    # Multiprocessors take blocks as they come: the last round is not full.
    rounds = math.ceil(blocks * slices / gpu.multiprocessors)
    multiplied = 128 * width * IGEMM_STEP[kind] / (gpu.tensor[kind] * EFFICIENCY["igemm"])
    taps_ended = min(1, IGEMM_STEP[kind] / (math.ceil(inputs / vector) * vector))
    instructions = IGEMM_INSTRUCTIONS[kind][width] + taps_ended * IGEMM_NEXT_TAP
    begun = 128 * width / (64 * 32) * instructions * 32 / LANES
    # Cycles of a step: one warp's instructions begin while another's multiply.
    step = max(multiplied, begun)
    work = rounds * step * (math.ceil(steps / slices) + IGEMM_OUTSIDE) / (gpu.gigahertz * 1e9)
    traffic = (layer.inputs + layer.weights + layer.outputs) * ELEMENT[kind] + layer.inputs * layer.multi_channel
    time = max(work, moved(gpu, traffic)) + LAUNCH
    return time + (streamed(gpu, (slices + 1) * layer.outputs * 4) if slices > 1 else 0)


def direct(gpu, layer, kind):
    traffic = (layer.inputs + layer.weights + layer.outputs) * ELEMENT[kind] + layer.inputs * layer.multi_channel
    return product(gpu, layer, kind, gpu.rate(gpu.f32) * EFFICIENCY["direct"], traffic)


ROWS = {"cudnn": cudnn, "igemm": igemm, "direct": direct}


def layers_of(row):
    """The convolutions of a row, and the elements that passes between them read and write."""
    if not row.is_network:
        return [Layer(row.batch, row.in_channels, row.out_channels, row.groups, row.size, row.output_size, row.kernel, row.mask,
                      row.multi_channel)], 0
    size, channels, passed, layers = row.size, row.channels, 0, []
    for layer in row.layers:
        if isinstance(layer, tuple):
            before = row.batch * channels * math.prod(size)
            size = tuple(i * f for i, f in zip(size, layer))
            passed += before + row.batch * channels * math.prod(size)
            continue
        output = tuple((i + 2 * layer.padding - k) // s + 1 for i, k, s in zip(size, layer.kernel, layer.stride))
        layers.append(Layer(row.batch, layer.in_channels, layer.out_channels, layer.groups, size, output, layer.kernel,
                            row.mask if not layers else "kept"))
        size, channels = output, layer.out_channels
    return layers, passed


def times(gpu, row, kind):
    """Seconds of each CUDA row, the mask side included; None where it declines a layer."""
    layers, passed = layers_of(row)
    result = {}
    for name, function in ROWS.items():
        parts = [function(gpu, layer, kind) for layer in layers]
        if None not in parts:
                result[name] = sum(parts) + sum(mask_side(gpu, layer) for layer in layers) + (
                streamed(gpu, passed * ELEMENT[kind]) if passed else 0)
    return result


def best_of_layers(gpu, row, kind):
    """The fastest row of each layer; the time of all, and their names."""
    layers, passed = layers_of(row)
    total, names = streamed(gpu, passed * ELEMENT[kind]) if passed else 0.0, []
    for layer in layers:
        candidates = {name: function(gpu, layer, kind) for name, function in ROWS.items()}
        name = min((n for n, t in candidates.items() if t is not None), key=lambda n: candidates[n])
        total += candidates[name] + mask_side(gpu, layer)
        names.append(name)
    return total, "+".join(sorted(set(names)))


TOLERANCE = 1.25  # of a choice's predicted time over the best: less is beyond what is predicted


def check(path):
    """Asks the library's first CUDA device which row it takes for each layer, a small one of the same channels and window,
    and lists those that are predicted to be slower than another. Their count."""
    import ctypes

    import pconv_ctypes as api

    library = api.Library(path)
    options = api.sized(api.DeviceOptions)
    options.verbosity = -1
    device = api.Handle(library, "Device", library.CreateDevice, b"cuda", ctypes.byref(options))
    wrong = asked = 0
    for row in seed_tables.rows(seed_tables.LAYERS):
        for kind in TYPES:
            desc = api.sized(api.PartialConvDesc)
            desc.spatial_dims, desc.batch = row.dims, 1
            desc.in_channels, desc.out_channels, desc.groups = row.in_channels, row.out_channels, row.groups
            for name in ("kernel", "stride", "padding", "dilation"):
                getattr(desc, name)[:row.dims] = getattr(row, name)
            desc.input_size[:row.dims] = [16] * row.dims
            desc.data_type = api.F16 if kind == "f16" else api.F32
            desc.math = api.EXACT if kind == "f32" else api.FAST
            desc.mask_type = api.NO_MASK if row.mask == "none" else api.BINARY_MASK
            desc.mask_mode = api.MULTI_CHANNEL if row.multi_channel else api.SINGLE_CHANNEL
            desc.eps, desc.negative_slope, desc.has_bias = 1e-8, 0.01, row.bias
            chosen = api.PartialConv(device, desc).implementation().split(":")[1]
            asked += 1
            predicted = {gpu.name: times(gpu, row, kind) for gpu in GPUS.values()}
            # What one GPU would have otherwise, another may not.
            if all(of[chosen] > TOLERANCE * min(of.values()) for of in predicted.values()):
                wrong += 1
                slower = ", ".join(f"{of[chosen] / min(of.values()):.2f} of the best's on {on}" for on, of in predicted.items())
                print(f"{row.table}/{row.name}, {kind}: cuda:{chosen} is taken, whose predicted time is {slower}")
    print(f"{asked} layers and types asked for, {wrong} of them not by predicted times")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gpu", choices=sorted(GPUS))
    parser.add_argument("--rows", choices=TYPES, help="every CUDA row's time, of tensors and math of this kind")
    parser.add_argument("--check", nargs="?", const="", metavar="LIBRARY")
    arguments = parser.parse_args()
    if arguments.check is not None:
        raise SystemExit(1 if check(arguments.check or None) else 0)
    tables = seed_tables.rows(seed_tables.LAYERS + seed_tables.NETWORKS)
    for gpu in [GPUS[arguments.gpu]] if arguments.gpu else GPUS.values():
        if arguments.rows:
            print(f"| {gpu.name}, {arguments.rows}, ms | " + " | ".join(ROWS) + " |\n|" + " --- |" * (len(ROWS) + 1))
            for row in tables:
                predicted = times(gpu, row, arguments.rows)
                cells = [f"{1e3 * predicted[n]:.3g}" if n in predicted else "-" for n in ROWS]
                print(f"| {row.table}/{row.name} | " + " | ".join(cells) + " |")
        else:
            heads = " | ".join(f"{kind} predicted | measured" for kind in TYPES)
            print(f"| {gpu.name}, ms | shape | {heads} |\n|" + " --- |" * 8)
            for row in tables:
                cells = []
                for kind in TYPES:
                    time, names = best_of_layers(gpu, row, kind)
                    cells.append(f"{1e3 * time:.3g} {names} | ")
                print(f"| {row.table}/{row.name} | `{row.shape_text()}` | " + " | ".join(cells) + " |")
        print()


if __name__ == "__main__":
    main()
