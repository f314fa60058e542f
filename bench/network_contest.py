"""A network of a table, as one object of the library and as a chain of the published modules."""
import torch
import torch.nn.functional as functional

import nvidia_eager
import pconv_ctypes as pconv
from agreement import Agreement, UNIT, part_of
from contest import TYPES, Contest

SLOPE = 0.01
ACTIVATIONS = {
    "none": (pconv.NO_ACTIVATION, lambda y: y, 1),
    "relu": (pconv.RELU, functional.relu, 1),
    "leaky_relu": (pconv.LEAKY_RELU, lambda y: functional.leaky_relu(y, SLOPE), 1),
    "gelu": (pconv.GELU, functional.gelu, 1.13),  # the last: its greatest slope
}


def upsampled(x, factors):
    return functional.interpolate(x, scale_factor=tuple(map(float, factors)), mode="nearest")


class EagerNetwork(torch.nn.Module):
    """Each convolution hands its updated mask on; upsampling repeats both."""

    def __init__(self, row, eps, generator=None):
        super().__init__()
        self.row = row
        self.modules_of_layers = torch.nn.ModuleList(
            torch.nn.Identity() if isinstance(layer, tuple) else
            nvidia_eager.PartialConv(row.dims, layer.in_channels, layer.out_channels, layer.kernel, layer.stride,
                                     layer.padding, 1, layer.groups, True, False, eps, generator) for layer in row.layers)

    def layers(self):
        return zip(self.row.layers, self.modules_of_layers)

    def mask_side(self, mask):
        """For each layer its mask and what the convolution makes of it."""
        sides = []
        for layer, module in self.layers():
            if isinstance(layer, tuple):
                sides.append((mask, None))
                mask = upsampled(mask, layer)
            else:
                sides.append((mask, module.mask_side(mask)))
                mask = sides[-1][1][1]
        return sides

    def forward(self, x, mask, mask_side=None):
        for k, (layer, module) in enumerate(self.layers()):
            if isinstance(layer, tuple):
                x = upsampled(x, layer)
                mask = upsampled(mask, layer) if mask_side is None else None
                continue
            before, side = mask_side[k] if mask_side else (mask, module.mask_side(mask))
            x = ACTIVATIONS[layer.activation][1](module(x, before, side))
            mask = side[1]
        return x

    def plain(self, x):
        for layer, module in self.layers():
            x = upsampled(x, layer) if isinstance(layer, tuple) else ACTIVATIONS[layer.activation][1](module.plain(x))
        return x


class Ours:
    """The network is recorded for its tensors, so its outputs stay where they are."""

    def __init__(self, device, row, choices, module, sets):
        tensor = lambda t: pconv.Tensor(device, t, TYPES[t.dtype])
        self.row = row
        self.network = pconv.Network(device, self.describe(choices))
        self.parameters = []  # which the library reads in place
        for k, (layer, of_layer) in enumerate(module.layers()):
            if isinstance(layer, tuple):
                continue
            values = of_layer.weight.detach().contiguous(), of_layer.bias.detach()
            self.parameters.append((values, [tensor(t) for t in values]))
            self.network.set_weights(k, *self.parameters[-1][1])
        self.inputs = [tensor(s.x) for s in sets]
        self.planes = [pconv.Tensor(device, s.plane, pconv.U8) for s in sets]
        self.results = [torch.empty(row.output_shape, dtype=choices.dtype, device=choices.device,
                                    memory_format=choices.format_of(row.dims)) for _ in sets]
        self.outputs = [tensor(t) for t in self.results]

    def describe(self, choices):
        row = self.row
        layers = (pconv.Layer * len(row.layers))()
        for c, layer in zip(layers, row.layers):
            c.struct_size = pconv.ctypes.sizeof(pconv.Layer)
            c.type = pconv.UPSAMPLE_LAYER if isinstance(layer, tuple) else pconv.PARTIAL_CONV_LAYER
            c.input = pconv.PREVIOUS_LAYER
            c.factor[:row.dims] = layer if isinstance(layer, tuple) else (1,) * row.dims
            conv = c.conv = pconv.sized(pconv.PartialConvDesc)
            conv.spatial_dims = row.dims
            conv.in_channels = conv.out_channels = conv.groups = 1
            conv.kernel[:] = conv.stride[:] = conv.dilation[:] = (1, 1, 1)
            conv.eps, conv.negative_slope, conv.has_bias, conv.mask_type = choices.eps, SLOPE, 1, pconv.BINARY_MASK
            if not isinstance(layer, tuple):
                conv.out_channels, conv.groups = layer.out_channels, layer.groups
                conv.kernel[:row.dims], conv.stride[:row.dims] = layer.kernel, layer.stride
                conv.padding[:row.dims] = (layer.padding,) * row.dims
                conv.activation = ACTIVATIONS[layer.activation][0]
            c.conv = conv
        desc = pconv.sized(pconv.NetworkDesc)
        desc.spatial_dims, desc.batch, desc.channels = row.dims, row.batch, row.channels
        desc.size[:row.dims] = row.size
        desc.data_type = TYPES[choices.dtype]
        desc.layout = pconv.CHANNELS_LAST if choices.channels_last else pconv.CONTIGUOUS
        desc.mask_type, desc.mask_batch, desc.mask_planes = pconv.BINARY_MASK, row.batch, 1
        desc.math = pconv.FAST if choices.fast else pconv.EXACT
        desc.layer_count, desc.layers = len(row.layers), layers
        return desc

    def implementation(self):
        return self.network.implementation(0)

    def __call__(self, i):
        self.network.forward(self.inputs[i], self.planes[i], self.outputs[i])
        return [self.results[i]]

    def with_kept_mask(self, i):
        self.network.forward(self.inputs[i], None, self.outputs[i])
        return [self.results[i]]


class NetworkContest(Contest):
    ours_type = Ours
    most_sets = 2  # a recording is kept for a few tensors only; what lies between the layers exceeds the cache anyway

    def make_module(self, generator=None):
        return EagerNetwork(self.row, self.choices.eps, generator)

    def agreement(self, fast):
        return NetworkAgreement(self, fast)


class NetworkAgreement(Agreement):
    """The bound of each layer, carried through the layers after it as errors of independent signs are: what they could
    add up to at worst grows so fast with the layers that it would let anything pass."""

    def compare(self, results):
        worst = dict.fromkeys(results, 0.0)
        for n in range(self.contest.row.batch):
            expected, bound = self.expected(n)
            for name, (got,) in results.items():
                worst[name] = max(worst[name], part_of(bound, (got[n:n + 1].double() - expected).abs()))
        return worst

    def expected(self, n):
        sets = self.contest.sets[0]
        x, mask = (t[n:n + 1].double().contiguous() for t in (sets.x, sets.mask))
        carried = torch.zeros_like(x)
        with torch.no_grad():
            for layer, module in self.reference.layers():
                if isinstance(layer, tuple):
                    x, mask, carried = (upsampled(t, layer) for t in (x, mask, carried))
                    continue
                x, mask, carried = self.after_layer(layer, module, x, mask, carried)
        return x, carried

    def after_layer(self, layer, module, x, mask, carried):
        _, activate, slope = ACTIVATIONS[layer.activation]
        convolve = lambda x, w: module.convolve(x, w, None, module.stride, module.padding, module.dilation, module.groups)
        ratio, updated = module.mask_side(mask)
        linear = module(x, mask, (ratio, updated))
        kept, weight = x * mask, module.weight.abs()
        sums = self.sum_unit * convolve(kept.abs(), weight) + convolve((carried * mask)**2, weight**2).sqrt()
        if self.input_unit:
            sums += self.input_unit * convolve(kept**2, weight**2).sqrt()
        offset = module.bias.abs().view(self.aside)
        bound = slope * (ratio * updated * sums + 4 * UNIT * (linear.abs() + offset))
        y = activate(linear)
        bound = bound + (4 * UNIT if layer.activation in ("leaky_relu", "gelu") else 0) * linear.abs()
        bound = bound + self.output_unit * y.abs() + self.smallest
        return y, updated, torch.where(ratio * updated == 0, torch.zeros_like(bound), bound)
