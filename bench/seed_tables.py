"""The rows of seed_benchmarks.json, as they are or scaled down."""
import dataclasses
import json
import pathlib

LAYERS = ("2d", "3d", "multi")
NETWORKS = ("2d_networks", "3d_networks")
PRESETS = "presets"  # no published table: networks that the library knows by name
TABLES = LAYERS + NETWORKS + (PRESETS,)

# The published tables have no multi-channel row.
MULTI_CHANNEL = {
    "name": "Multi-channel", "mask": "random", "input_shape": [32, 16, 256, 256],
    "layer": {"in_channels": 16, "out_channels": 32, "kernel_size": 3, "padding": 1, "bias": True, "multi_channel": True},
}


@dataclasses.dataclass
class Row:
    table: str
    name: str
    mask: str  # one of the kinds in the file's "masks"
    multi_channel: bool
    bias: bool
    batch: int
    in_channels: int
    out_channels: int
    groups: int
    size: tuple
    kernel: tuple
    stride: tuple
    padding: tuple
    dilation: tuple
    is_network = is_preset = False

    @property
    def dims(self):
        return len(self.size)

    @property
    def output_size(self):
        return tuple((i + 2 * p - d * (k - 1) - 1) // s + 1 for i, k, s, p, d in
                     zip(self.size, self.kernel, self.stride, self.padding, self.dilation))

    @property
    def input_shape(self):
        return (self.batch, self.in_channels, *self.size)

    @property
    def output_shape(self):
        return (self.batch, self.out_channels, *self.output_size)

    @property
    def mask_shape(self):
        return (self.batch, self.in_channels if self.multi_channel else 1, *self.size)

    def shape_text(self):
        text = f"[{','.join(map(str, self.input_shape))}]->{self.out_channels} k{self.kernel[0]}"
        for letter, value, usual in (("s", self.stride[0], 1), ("d", self.dilation[0], 1), ("g", self.groups, 1)):
            text += f" {letter}{value}" if value != usual else ""
        return text

    def shrunk(self, by):
        """Channels and sizes divided, as far as groups and windows allow."""
        channels = lambda c: max(1, c // by // self.groups) * self.groups
        return dataclasses.replace(self, in_channels=channels(self.in_channels), out_channels=channels(self.out_channels),
                                   size=tuple(max(4, s // by) for s in self.size))


@dataclasses.dataclass
class Convolution:
    in_channels: int
    out_channels: int
    kernel: tuple
    stride: tuple
    groups: int
    activation: str  # none, relu, leaky_relu or gelu
    padding: int = 1


class OneMaskNetwork:
    """What rows of whole networks share: `batch`, `channels` and `size` of an input under one mask."""
    is_network = True
    is_preset = False

    @property
    def dims(self):
        return len(self.size)

    @property
    def input_shape(self):
        return (self.batch, self.channels, *self.size)

    @property
    def mask_shape(self):
        return (self.batch, 1, *self.size)


@dataclasses.dataclass
class NetworkRow(OneMaskNetwork):
    table: str
    name: str
    mask: str
    batch: int
    channels: int
    size: tuple
    layers: list  # convolutions, and tuples of factors by which to upsample

    @property
    def output_shape(self):
        size = self.size
        for layer in self.layers:
            if isinstance(layer, tuple):
                size = [i * f for i, f in zip(size, layer)]
            else:
                size = [(i + 2 * layer.padding - k) // s + 1 for i, k, s in zip(size, layer.kernel, layer.stride)]
        return (self.batch, self.layers[-1].out_channels, *size)

    def shape_text(self):
        convolutions = sum(isinstance(layer, Convolution) for layer in self.layers)
        return f"[{','.join(map(str, self.input_shape))}] {convolutions} layers"

    def shrunk(self, by):
        """Down to channels and sizes of 8, which all groups and strides divide."""
        less = lambda n: max(min(n, 8), n // by // 8 * 8)
        layers = [layer if isinstance(layer, tuple) else dataclasses.replace(
            layer, in_channels=less(layer.in_channels), out_channels=less(layer.out_channels)) for layer in self.layers]
        return dataclasses.replace(self, channels=less(self.channels), size=tuple(map(less, self.size)), layers=layers)


@dataclasses.dataclass
class PresetRow(OneMaskNetwork):
    name: str
    mask: str
    size: tuple
    output: tuple  # channels and size
    table: str = PRESETS
    batch: int = 1
    channels: int = 3
    multiple: int = 1  # of a U-Net's sizes
    is_preset = True

    @property
    def output_shape(self):
        return (self.batch, *self.output)

    def shape_text(self):
        return f"[{','.join(map(str, self.input_shape))}]"

    def shrunk(self, by):
        """U-Nets; classifiers take one size."""
        if self.mask == "none":
            return self
        size = tuple(max(self.multiple, s // by // self.multiple * self.multiple) for s in self.size)
        return dataclasses.replace(self, size=size, output=(self.output[0], *size))


def presets():
    u_nets = {"pconv_unet": 128, "paper_unet": 256, "mmagic_pconv": 128, "keras_pconv": 256}
    classifiers = [f"pdresnet{n}" for n in (18, 34, 50, 101, 152)] + [f"pdvgg{n}{norm}" for n in (11, 13, 16, 19) for norm in ("", "_bn")]
    return [PresetRow(name, "center_hole", (512, 512), (3, 512, 512), multiple=multiple) for name, multiple in u_nets.items()] + [
        PresetRow(name, "none", (224, 224), (1000, 1, 1)) for name in classifiers]


def sequential(entry, dims):
    each = lambda value: tuple(value) if isinstance(value, list) else (value,) * dims
    layers = [Convolution(c["in_channels"], c["out_channels"], each(c["kernel_size"]), each(c.get("stride", 1)),
                          c.get("groups", 1), entry["activation"], c["padding"]) for c in entry["layer_configs"]]
    return layers[:-1] + [dataclasses.replace(layers[-1], activation="none")]


def encoder_decoder(entry, dims):
    b, video = entry["base_channels"], dims == 3
    one, two, frame = (1,) * dims, (2,) * dims, (1, 2, 2)
    conv = lambda i, o, stride=one, activation="relu": Convolution(i, o, (3,) * dims, stride, 1, activation)
    return [conv(3, b), conv(b, 2 * b, frame if video else two), conv(2 * b, 4 * b, two), conv(4 * b, 8 * b), two,
            conv(8 * b, 4 * b), frame if video else two, conv(4 * b, 2 * b), conv(2 * b, b), conv(b, 3, one, "none")]


def network_of(table, entry):
    batch, channels, *size = entry["input_shape"]
    layers = (sequential if entry["type"] == "sequential" else encoder_decoder)(entry, len(size))
    return NetworkRow(table, entry["name"], entry["mask"], batch, channels, tuple(size), layers)


def mask_values(kind, shape, torch, generator):
    """1 where valid, by the file's own description of the kind."""
    valid = torch.ones(shape)
    middle = lambda size: slice(size // 4, size // 4 + size // 2)
    if kind == "random":
        return (torch.rand(shape, generator=generator) < 0.5).float()
    if kind == "random_temporal":
        frames = (torch.rand(shape[0], 1, shape[2], 1, 1, generator=generator) >= 0.3).float()
        return valid * frames
    if kind in ("center_hole", "spatial_hole"):
        valid[..., middle(shape[-2]), middle(shape[-1])] = 0
    if kind == "temporal_hole":
        valid[:, :, middle(shape[2])] = 0
    return valid


def row_of(table, entry):
    layer, (batch, _, *size) = entry["layer"], entry["input_shape"]
    each = lambda name, usual: (layer.get(name, usual),) * len(size)
    return Row(table, entry["name"], entry["mask"], layer["multi_channel"], layer.get("bias", True), batch,
               layer["in_channels"], layer["out_channels"], layer.get("groups", 1), tuple(size),
               each("kernel_size", None), each("stride", 1), each("padding", 0), each("dilation", 1))


def rows(tables):
    seeds = json.loads((pathlib.Path(__file__).parent / "seed_benchmarks.json").read_text())["tables"]
    seeds = {**seeds, "multi": [MULTI_CHANNEL]}
    of_tables = [(network_of if table in NETWORKS else row_of)(table, entry) for table in tables if table != PRESETS
                 for entry in seeds[table]]
    return of_tables + (presets() if PRESETS in tables else [])
