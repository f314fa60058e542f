"""The published networks that the library knows by name, as chains of PyTorch's operations. Modules go by the library's names:
`tensors` has them as it asks for them. `forward` computes as published, `plain` with convolutions that know no mask."""
import dataclasses
import functools

import torch
import torch.nn.functional as functional

import nvidia_eager


class NvidiaConv(nvidia_eager.PartialConv):
    def updated(self, side):
        return side[1]


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

    def updated(self, side):
        return torch.ones_like(side[1], dtype=self.weight.dtype).masked_fill(side[1], 0.0)


@dataclasses.dataclass(frozen=True)
class Style:
    """How U-Nets of the shape of Liu et al. 2018, table 4, differ."""
    encoder: str  # before a level's number in names
    decoder: str
    conv: str  # and after it
    norm: str
    kind: type
    levels: int
    always_bias: bool = True  # of convolutions that are normalized, too
    first_bias: bool = True
    encoder_first: bool = False  # in what is joined
    last_active: bool = False
    norm_eps: float = 1e-5
    head: bool = False  # a convolution of one pixel and a sigmoid at the end


STYLES = {
    "pconv_unet": Style("enc_", "dec_", ".conv.input_conv", ".bn", MaskSumConv, 7, always_bias=False, first_bias=False),
    "paper_unet": Style("enc", "dec", "", "_bn", NvidiaConv, 8),
    "mmagic_pconv": Style("encoder.enc", "decoder.dec", ".conv", ".bn", NvidiaConv, 7, always_bias=False),
    "keras_pconv": Style("enc", "dec", ".conv", ".bn", MaskSumConv, 8, encoder_first=True, last_active=True, norm_eps=1e-3, head=True),
}


class EagerUNet(torch.nn.Module):
    """Halvings, each level's output joined with what comes back up."""

    def __init__(self, name, eps, generator):
        super().__init__()
        self.style = style = STYLES[name]
        channels = lambda level: (3, 64, 128, 256)[level] if level < 4 else 512
        self.convs, self.norms = torch.nn.ModuleDict(), torch.nn.ModuleDict()
        for level in range(1, style.levels + 1):
            kernel = {1: 7, 2: 5, 3: 5}.get(level, 3)
            self.add(f"e{level}", channels(level - 1), channels(level), kernel, 2, eps, generator)
        for level in range(style.levels, 0, -1):
            self.add(f"d{level}", channels(level) + channels(level - 1), channels(level - 1), 3, 1, eps, generator)
        self.head = torch.nn.Conv2d(3, 3, 1) if style.head else None

    def add(self, name, in_channels, out_channels, kernel, stride, eps, generator):
        style, normalized = self.style, int(name[1:]) > 1
        has_bias = style.always_bias if normalized else style.first_bias if name == "e1" else True
        self.convs[name] = style.kind(2, in_channels, out_channels, kernel, stride, kernel // 2, 1, 1, has_bias, True, eps, generator)
        if normalized:
            self.norms[name] = torch.nn.BatchNorm2d(out_channels, eps=style.norm_eps)

    def tensors(self):
        called = lambda key: (self.style.encoder if key[0] == "e" else self.style.decoder) + key[1:]
        named = {}
        for key, conv in self.convs.items():
            named[called(key) + self.style.conv + ".weight"] = conv.weight
            if conv.bias is not None:
                named[called(key) + self.style.conv + ".bias"] = conv.bias
        for key, norm in self.norms.items():
            named.update({f"{called(key)}{self.style.norm}.{part}": value for part, value in norm.state_dict().items()})
        if self.head is not None:
            named.update({"out.weight": self.head.weight, "out.bias": self.head.bias})
        return named

    def through(self, x, layer):
        """`layer(name, [inputs])`: of one convolution's features; an input is called as the layer that made it, first what comes up."""
        features = [x]
        for level in range(1, self.style.levels + 1):
            features.append(functional.relu(layer(f"e{level}", features[-1])))
        y = features[-1]
        for level in range(self.style.levels, 0, -1):
            y = layer(f"d{level}", self.joined(y, features[level - 1]))
            y = functional.leaky_relu(y, 0.2) if level > 1 or self.style.last_active else y
        return y if self.head is None else torch.sigmoid(self.head(y))

    def joined(self, below, beside):
        up = functional.interpolate(below, scale_factor=2.0, mode="nearest")
        return torch.cat([beside, up] if self.style.encoder_first else [up, beside], 1)

    def normalized(self, name, y):
        return self.norms[name](y) if name in self.norms else y

    def mask_side(self, mask):
        """Of every layer: the mask that it multiplies its input by, and what its window makes of that."""
        sides = {}

        def keep(name, mask):
            sides[name] = mask, self.convs[name].mask_side(mask)
            return self.convs[name].updated(sides[name][1])

        masks = [mask.expand(-1, 3, -1, -1)]
        for level in range(1, self.style.levels + 1):
            masks.append(keep(f"e{level}", masks[-1]))
        mask = masks[-1]
        for level in range(self.style.levels, 0, -1):
            mask = keep(f"d{level}", self.joined(mask, masks[level - 1]))
        return sides

    def forward(self, x, mask, sides=None):
        sides = self.mask_side(mask) if sides is None else sides
        return self.through(x, lambda name, x: self.normalized(name, self.convs[name](x, *sides[name])))

    def plain(self, x):
        return self.through(x, lambda name, x: self.normalized(name, self.convs[name].plain(x)))


class Classifier(torch.nn.Module):
    """No mask but the border's, whose ratios are kept. A name's dots are slashes here."""

    def __init__(self, eps, generator):
        super().__init__()
        self.eps, self.generator = eps, generator
        self.convs, self.norms, self.linears = torch.nn.ModuleDict(), torch.nn.ModuleDict(), torch.nn.ModuleDict()

    def add(self, name, norm, in_channels, out_channels, kernel, stride, bias=False):
        key = name.replace(".", "/")
        self.convs[key] = nvidia_eager.PartialConv(2, in_channels, out_channels, kernel, stride, kernel // 2, 1, 1, bias, False,
                                                   self.eps, self.generator)
        if norm:
            self.norms[key] = torch.nn.BatchNorm2d(out_channels)
            self.norms[key].called = norm

    def tensors(self):
        named = {}
        for key, module in [*self.convs.items(), *self.linears.items()]:
            named[key.replace("/", ".") + ".weight"] = module.weight
            if module.bias is not None:
                named[key.replace("/", ".") + ".bias"] = module.bias
        for norm in self.norms.values():
            named.update({f"{norm.called}.{key}": value for key, value in norm.state_dict().items()})
        return named

    def layer(self, key, x, convolve):
        y = convolve(self.convs[key], x)
        return self.norms[key](y) if key in self.norms else y

    def forward(self, x, mask=None):
        return self.through(x, lambda conv, x: conv(x))

    def plain(self, x):
        return self.through(x, lambda conv, x: conv.plain(x))


class EagerResnet(Classifier):
    BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

    def __init__(self, name, eps, generator):
        super().__init__(eps, generator)
        depth = int(name.removeprefix("pdresnet"))
        self.blocks, self.parts = self.BLOCKS[depth], 3 if depth >= 50 else 2
        self.add("conv1", "bn1", 3, 64, 7, 2)
        before = 64
        for stage, count in enumerate(self.blocks, 1):
            for block in range(count):
                before = self.add_block(f"layer{stage}.{block}", before, 32 << stage, 2 if stage > 1 and block == 0 else 1)
        self.linears["fc"] = torch.nn.Linear(before, 1000)

    def add_block(self, name, before, width, stride):
        after = width if self.parts == 2 else 4 * width
        widths = [before, width, after] if self.parts == 2 else [before, width, width, after]
        for part in range(1, self.parts + 1):
            kernel = 3 if self.parts == 2 or part == 2 else 1
            by = stride if part == self.parts - 1 else 1
            self.add(f"{name}.conv{part}", f"{name}.bn{part}", widths[part - 1], widths[part], kernel, by)
        if stride != 1 or before != after:
            self.add(name + ".downsample.0", name + ".downsample.1", before, after, 1, stride)
        return after

    def through(self, x, convolve):
        x = functional.max_pool2d(functional.relu(self.layer("conv1", x, convolve)), 3, 2, 1)
        for stage, count in enumerate(self.blocks, 1):
            for block in range(count):
                name, y = f"layer{stage}/{block}", x
                for part in range(1, self.parts + 1):
                    y = self.layer(f"{name}/conv{part}", y, convolve)
                    y = functional.relu(y) if part < self.parts else y
                shortcut = name + "/downsample/0"
                x = functional.relu(y + (self.layer(shortcut, x, convolve) if shortcut in self.convs else x))
        return self.linears["fc"](torch.flatten(functional.avg_pool2d(x, 7), 1)).view(len(x), -1, 1, 1)


class EagerVgg(Classifier):
    CONVS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

    def __init__(self, name, eps, generator):
        super().__init__(eps, generator)
        number, before = 0, 3
        normalized = name.endswith("_bn")
        self.groups = []
        for group, count in enumerate(self.CONVS[int(name.removeprefix("pdvgg").removesuffix("_bn"))]):
            self.groups.append([])
            for _ in range(count):
                after = min(64 << group, 512)
                self.add(f"features.{number}", f"features.{number + 1}" if normalized else None, before, after, 3, 1, bias=True)
                self.groups[-1].append(f"features/{number}")
                number, before = number + (3 if normalized else 2), after
            number += 1
        for key, inputs, outputs in (("0", 512 * 49, 4096), ("3", 4096, 4096), ("6", 4096, 1000)):
            self.linears["classifier/" + key] = torch.nn.Linear(inputs, outputs)

    def through(self, x, convolve):
        for group in self.groups:
            for key in group:
                x = functional.relu(self.layer(key, x, convolve))
            x = functional.max_pool2d(x, 2, 2)
        x = torch.flatten(x, 1)
        for key in ("0", "3", "6"):
            x = self.linears["classifier/" + key](x)
            x = functional.relu(x) if key != "6" else x
        return x.view(len(x), -1, 1, 1)


MODULES = {name: functools.partial(EagerUNet, name) for name in STYLES}
MODULES.update({f"pdresnet{n}": functools.partial(EagerResnet, f"pdresnet{n}") for n in EagerResnet.BLOCKS})
MODULES.update({f"pdvgg{n}{norm}": functools.partial(EagerVgg, f"pdvgg{n}{norm}") for n in EagerVgg.CONVS for norm in ("", "_bn")})
