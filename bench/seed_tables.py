"""The rows of seed_benchmarks.json, as they are or scaled down."""
import dataclasses
import json
import pathlib

TABLES = ("2d", "3d", "multi")

# The published tables have no multi-channel row.
MULTI_CHANNEL = {
    "name": "Multi-channel", "mask": "random", "input_shape": [32, 16, 256, 256],
    "layer": {"in_channels": 16, "out_channels": 32, "kernel_size": 3, "padding": 1, "bias": True, "multi_channel": True},
}


@dataclasses.dataclass
class Row:
    table: str
    name: str
    mask: str  # full, random or none
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


def row_of(table, entry):
    layer, (batch, _, *size) = entry["layer"], entry["input_shape"]
    each = lambda name, usual: (layer.get(name, usual),) * len(size)
    return Row(table, entry["name"], entry["mask"], layer["multi_channel"], layer.get("bias", True), batch,
               layer["in_channels"], layer["out_channels"], layer.get("groups", 1), tuple(size),
               each("kernel_size", None), each("stride", 1), each("padding", 0), each("dilation", 1))


def rows(tables):
    seeds = json.loads((pathlib.Path(__file__).parent / "seed_benchmarks.json").read_text())["tables"]
    seeds = {**seeds, "multi": [MULTI_CHANNEL]}
    return [row_of(table, entry) for table in tables for entry in seeds[table]]
