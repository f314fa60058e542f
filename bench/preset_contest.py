"""A published network that the library knows by name, beside the same network as a chain of PyTorch's operations."""
import ctypes
import dataclasses

import torch
import torch.nn.functional as functional

import network_contest
import nvidia_eager
import pconv_ctypes as pconv
from contest import TYPES

NORM_EPS = 1e-5


class MaskSumConv(nvidia_eager.PartialConv):
    """The rule of naoto0804's re-implementation: a plane for every channel, the window's sum alone divides."""

    def mask_side(self, mask):
        with torch.no_grad():
            counted = self.convolve(mask, self.window_weight, None, self.stride, self.padding, self.dilation)
            hole = counted == 0
            return counted.masked_fill(hole, 1.0), hole

    def forward(self, x, mask=None, mask_side=None):
        counted, hole = mask_side
        raw = self.convolve(torch.mul(x, mask), self.weight, None, self.stride, self.padding)
        y = raw / counted if self.bias is None else raw / counted + self.bias.view(1, -1, 1, 1)
        return y.masked_fill(hole, 0.0)

    def updated(self, hole):
        return torch.ones_like(hole, dtype=self.weight.dtype).masked_fill(hole, 0.0)


def normalization(channels):
    return torch.nn.BatchNorm2d(channels, eps=NORM_EPS)


class EagerUNet(torch.nn.Module):
    """pconv_unet: seven halvings, each level's output joined with what comes back up. Modules go by the library's names."""

    LEVELS = 7

    def __init__(self, eps, generator):
        super().__init__()
        channels = lambda level: (3, 64, 128, 256)[level] if level < 4 else 512
        self.convs, self.norms = torch.nn.ModuleDict(), torch.nn.ModuleDict()
        for level in range(1, self.LEVELS + 1):
            kernel = {1: 7, 2: 5, 3: 5}.get(level, 3)
            self.add(f"enc_{level}", channels(level - 1), channels(level), kernel, 2, level > 1, generator)
        for level in range(self.LEVELS, 0, -1):
            below = channels(level)
            self.add(f"dec_{level}", below + channels(level - 1), channels(level - 1), 3, 1, level > 1, generator)

    def add(self, name, in_channels, out_channels, kernel, stride, normalized, generator):
        has_bias = not name.startswith("enc") and not normalized
        self.convs[name] = MaskSumConv(2, in_channels, out_channels, kernel, stride, kernel // 2, 1, 1, has_bias, True,
                                       generator=generator)
        if normalized:
            self.norms[name] = normalization(out_channels)

    def tensors(self):
        """By the names under which the library asks for them."""
        named = {}
        for name, conv in self.convs.items():
            named[f"{name}.conv.input_conv.weight"] = conv.weight
            if conv.bias is not None:
                named[f"{name}.conv.input_conv.bias"] = conv.bias
        for name, norm in self.norms.items():
            named.update({f"{name}.bn.{key}": value for key, value in norm.state_dict().items()})
        return named

    def layer(self, name, x, mask, sides, activate):
        """`sides`: of masks that did not change; else None."""
        conv = self.convs[name]
        side = sides[name] if sides else conv.mask_side(mask)
        y = conv(x, sides[name + " mask"] if sides else mask, side)
        if name in self.norms:
            y = self.norms[name](y)
        return activate(y), conv.updated(side[1]) if sides is None else None

    def forward(self, x, mask, sides=None):
        mask = mask.expand(-1, 3, -1, -1)
        features, masks = [x], [mask]
        for level in range(1, self.LEVELS + 1):
            y, updated = self.layer(f"enc_{level}", features[-1], masks[-1], sides, functional.relu)
            features.append(y)
            masks.append(updated)
        y, mask = features[-1], masks[-1]
        for level in range(self.LEVELS, 0, -1):
            joined = lambda a, b: torch.cat([functional.interpolate(a, scale_factor=2.0, mode="nearest"), b], 1)
            activate = (lambda t: functional.leaky_relu(t, 0.2)) if level > 1 else (lambda t: t)
            y, mask = self.layer(f"dec_{level}", joined(y, features[level - 1]),
                                 None if sides else joined(mask, masks[level - 1]), sides, activate)
        return y

    def mask_side(self, mask):
        """Of every layer, with the mask that it multiplies its input by."""
        sides, masks, mask = {}, [mask.expand(-1, 3, -1, -1)], None
        for level in range(1, self.LEVELS + 1):
            masks.append(self.keep(sides, f"enc_{level}", masks[-1]))
        mask = masks[-1]
        for level in range(self.LEVELS, 0, -1):
            up = functional.interpolate(mask, scale_factor=2.0, mode="nearest")
            mask = self.keep(sides, f"dec_{level}", torch.cat([up, masks[level - 1]], 1))
        return sides

    def keep(self, sides, name, mask):
        sides[name], sides[name + " mask"] = self.convs[name].mask_side(mask), mask
        return self.convs[name].updated(sides[name][1])

    def plain(self, x):
        features = [x]
        for level in range(1, self.LEVELS + 1):
            features.append(self.plain_layer(f"enc_{level}", features[-1], functional.relu))
        y = features[-1]
        for level in range(self.LEVELS, 0, -1):
            y = torch.cat([functional.interpolate(y, scale_factor=2.0, mode="nearest"), features[level - 1]], 1)
            y = self.plain_layer(f"dec_{level}", y, lambda t: functional.leaky_relu(t, 0.2) if level > 1 else t)
        return y

    def plain_layer(self, name, x, activate):
        y = self.convs[name].plain(x)
        return activate(self.norms[name](y) if name in self.norms else y)


class EagerResnet(torch.nn.Module):
    """pdresnet18: no mask but the border's, whose ratios are kept."""

    def __init__(self, eps, generator):
        super().__init__()
        self.convs, self.norms = torch.nn.ModuleDict(), torch.nn.ModuleDict()
        self.add("conv1", "bn1", 3, 64, 7, 2, eps, generator)
        for stage in range(1, 5):
            for block in range(2):
                name, width = f"layer{stage}.{block}", 32 << stage
                before, stride = (width // 2, 2) if stage > 1 and block == 0 else (width, 1)
                self.add(name + ".conv1", name + ".bn1", before, width, 3, stride, eps, generator)
                self.add(name + ".conv2", name + ".bn2", width, width, 3, 1, eps, generator)
                if stride == 2:
                    self.add(name + ".downsample.0", name + ".downsample.1", before, width, 1, 2, eps, generator)
        self.fc = torch.nn.Linear(512, 1000)

    def add(self, name, norm, in_channels, out_channels, kernel, stride, eps, generator):
        key = name.replace(".", "/")
        self.convs[key] = nvidia_eager.PartialConv(2, in_channels, out_channels, kernel, stride, kernel // 2, 1, 1, False, False,
                                                   eps, generator)
        self.norms[key] = normalization(out_channels)
        self.norms[key].called = norm

    def tensors(self):
        named = {f"{key.replace('/', '.')}.weight": conv.weight for key, conv in self.convs.items()}
        for norm in self.norms.values():
            named.update({f"{norm.called}.{key}": value for key, value in norm.state_dict().items()})
        named.update({"fc.weight": self.fc.weight, "fc.bias": self.fc.bias})
        return named

    def through(self, x, convolve):
        layer = lambda name, x: self.norms[name](convolve(self.convs[name], x))
        x = functional.max_pool2d(functional.relu(layer("conv1", x)), 3, 2, 1)
        for stage in range(1, 5):
            for block in range(2):
                name = f"layer{stage}/{block}"
                y = layer(name + "/conv2", functional.relu(layer(name + "/conv1", x)))
                shortcut = name + "/downsample/0"
                x = functional.relu(y + (layer(shortcut, x) if shortcut in self.convs else x))
        return self.fc(torch.flatten(functional.avg_pool2d(x, 7), 1)).view(len(x), -1, 1, 1)

    def forward(self, x, mask=None):
        return self.through(x, lambda conv, x: conv(x))

    def plain(self, x):
        return self.through(x, lambda conv, x: conv.plain(x))


MODULES = {"pconv_unet": EagerUNet, "pdresnet18": EagerResnet}


class Ours(network_contest.Ours):
    """By the preset's name, with the module's weights."""

    def __init__(self, device, row, choices, module, sets):
        library = device.library
        self.row, self.model = row, pconv.Model(library, row.name)
        desc = pconv.sized(pconv.NetworkDesc)
        desc.spatial_dims, desc.batch = 2, row.batch
        desc.size[:2] = row.size
        desc.data_type = TYPES[choices.dtype]
        desc.layout = pconv.CHANNELS_LAST if choices.channels_last else pconv.CONTIGUOUS
        desc.math = pconv.FAST if choices.fast else pconv.EXACT
        library.GetModelNetworkDesc(self.model.handle, ctypes.byref(desc))
        self.network = pconv.Network(device, desc)
        self.network.read_weights({name: t.detach().float().contiguous() for name, t in module.tensors().items()})
        tensor = lambda t: pconv.Tensor(device, t, TYPES[t.dtype])
        self.inputs = [tensor(s.x) for s in sets]
        self.planes = [None if s.mask is None else pconv.Tensor(device, s.plane, pconv.U8) for s in sets]
        self.results = [torch.empty(row.output_shape, dtype=choices.dtype, memory_format=choices.format_of(2)) for _ in sets]
        self.outputs = [tensor(t) for t in self.results]


@dataclasses.dataclass
class PresetAgreement:
    """No bound is carried through so many layers: a part of 1e-4 of the largest number."""
    contest: object

    def worst(self, names):
        contest, inputs = self.contest, self.contest.sets[0]
        reference = contest.make_module().eval()
        reference.load_state_dict(contest.module.state_dict())
        reference = reference.double()
        with torch.no_grad():
            expected = reference(inputs.x.double(), None if inputs.mask is None else inputs.mask.double())
        bound = 1e-4 * expected.abs().max().item()
        far = lambda name: (contest.contenders[name](0)[0].double() - expected).abs().max().item() / bound
        return {name: far(name) for name in names if name in contest.contenders}


class PresetContest(network_contest.NetworkContest):
    def make_module(self, generator=None):
        return MODULES[self.row.name](self.choices.eps, generator).eval()

    def make_ours(self):
        return Ours(self.device, self.row, self.choices, self.module, self.sets)

    def agreement(self):
        return PresetAgreement(self)
