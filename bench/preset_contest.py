"""A published network that the library knows by name, beside the same network as a chain of PyTorch's operations (preset_modules.py)."""
import ctypes
import dataclasses

import torch

import network_contest
import pconv_ctypes as pconv
from contest import TYPES
from preset_modules import MODULES


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
    ours_type = Ours

    def make_module(self, generator=None):
        return MODULES[self.row.name](self.choices.eps, generator).eval()

    def agreement(self, fast):
        return PresetAgreement(self)
