"""One row of a table: its tensors, those who compute it, and how long they take."""
import dataclasses
import functools
import math
import statistics
import time

import torch

import agreement
import nvidia_eager
import pconv_ctypes as pconv
import seed_tables

TYPES = {torch.float32: pconv.F32, torch.float16: pconv.F16, torch.bfloat16: pconv.BF16}


@dataclasses.dataclass
class Choices:
    device: str
    dtype: torch.dtype
    fast: bool
    channels_last: bool
    backward: bool
    rounds: int
    slice_seconds: float  # how long one contender runs in one round
    cache_bytes: int  # the sets of inputs together are larger

    @property
    def eps(self):
        return 1e-8 if self.dtype == torch.float32 else 1e-6

    def format_of(self, dims):
        last = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}[dims]
        return last if self.channels_last else torch.contiguous_format


@dataclasses.dataclass
class Inputs:
    x: torch.Tensor
    mask: torch.Tensor  # of the data's type, as the modules take it, or None
    plane: torch.Tensor  # the same in bytes
    grad: torch.Tensor


@dataclasses.dataclass
class Times:
    seconds: list

    @property
    def median(self):
        return statistics.median(self.seconds)

    @property
    def spread(self):
        """Half the distance of the quartiles, as a part of the median."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2 / self.median


class Ours:
    """The library on the tensors of `sets`, its results in tensors of PyTorch's allocator, as a module has them."""

    def __init__(self, device, row, choices, module, sets):
        self.row, self.sets, self.backward_too = row, sets, choices.backward
        self.format, self.dtype = choices.format_of(row.dims), choices.dtype
        tensor = lambda t: None if t is None else pconv.Tensor(device, t, TYPES[choices.dtype])
        desc = self.describe(choices)
        self.weight_values = module.weight.detach().contiguous()  # which channels-last modules do not have
        self.bias_values = None if module.bias is None else module.bias.detach()
        self.weight, self.bias = tensor(self.weight_values), tensor(self.bias_values)
        self.masks = [None if s.mask is None else pconv.Mask(device, s.plane) for s in sets]
        self.inputs = [tensor(s.x) for s in sets]
        self.conv = pconv.PartialConv(device, desc)
        self.update = pconv.MaskUpdate(device, desc, self.masks[0])
        self.kept = pconv.MaskUpdate(device, desc, self.masks[0])
        for update in (self.update, self.kept):
            update.compute(self.masks[0])
        self.conv.set_weights(self.weight, self.bias)
        self.output = tensor(self.empty_output())
        if self.backward_too:
            self.grad_outputs = [tensor(s.grad) for s in sets]
            self.grad_values = self.empty_gradients()
            self.grads = [tensor(t) for t in self.grad_values]

    def describe(self, choices):
        row = self.row
        desc = pconv.sized(pconv.PartialConvDesc)
        desc.spatial_dims, desc.batch = row.dims, row.batch
        desc.in_channels, desc.out_channels, desc.groups = row.in_channels, row.out_channels, row.groups
        for name, values in (("input_size", row.size), ("kernel", row.kernel), ("stride", row.stride),
                             ("padding", row.padding), ("dilation", row.dilation)):
            getattr(desc, name)[:row.dims] = values
        desc.data_type = TYPES[choices.dtype]
        desc.input_layout = desc.output_layout = pconv.CHANNELS_LAST if choices.channels_last else pconv.CONTIGUOUS
        desc.mask_type = pconv.NO_MASK if row.mask == "none" else pconv.BINARY_MASK
        desc.mask_mode = pconv.MULTI_CHANNEL if row.multi_channel else pconv.SINGLE_CHANNEL
        desc.eps, desc.negative_slope = choices.eps, 0.01
        desc.math = pconv.FAST if choices.fast else pconv.EXACT
        desc.has_bias, desc.training = row.bias, choices.backward
        return desc

    def empty_output(self):
        return torch.empty(self.row.output_shape, dtype=self.dtype, device=self.sets[0].x.device,
                           memory_format=self.format)

    def empty_gradients(self):
        values = [torch.empty_like(self.sets[0].x), torch.empty_like(self.weight_values)]
        return values + ([] if self.bias_values is None else [torch.empty_like(self.bias_values)])

    def __call__(self, i):
        # Without a mask there is nothing that could have changed: the modules keep what they computed, too.
        if self.masks[i] is not None:
            self.update.compute(self.masks[i])
        return self.run(i, self.update)

    def implementation(self):
        return self.conv.implementation()

    def with_kept_mask(self, i):
        return self.run(i, self.kept)

    def run(self, i, update):
        if self.backward_too:
            self.conv.set_weights(self.weight, self.bias)  # an optimizer has changed them
        result = self.empty_output()
        self.output.bind(result)
        self.conv.forward(update, self.inputs[i], self.output)
        if not self.backward_too:
            return [result]
        self.grad_values = self.empty_gradients()
        for view, values in zip(self.grads, self.grad_values):
            view.bind(values)
        bias = self.grads[2] if len(self.grads) > 2 else None
        self.conv.backward(update, self.inputs[i], self.grad_outputs[i], self.grads[0], self.grads[1], bias)
        return [result, *self.grad_values]


def gradients_of(function, module, x, grad):
    """The result and the gradients of input, weight and bias."""
    x = x.detach().requires_grad_()
    result = function(x)
    wanted = [x, module.weight] + ([] if module.bias is None else [module.bias])
    return [result.detach(), *torch.autograd.grad(result, wanted, grad)]


class Contest:
    """What a row needs, and `contenders`: functions of the index of a set of inputs. `absent` says why one is not there."""

    most_sets = 1 << 16
    ours_type = Ours

    def __init__(self, device, row, choices):
        self.device, self.row, self.choices = device, row, choices
        generator = torch.Generator().manual_seed(1)
        self.module = self.make_module(generator).to(choices.device, choices.dtype).to(
            memory_format=choices.format_of(row.dims))
        self.sets = self.make_sets(generator)
        before = device.allocated
        self.ours = self.make_ours(choices)
        self.ours_bytes = device.allocated - before
        self.absent = {}
        self.contenders = self.make_contenders()

    def make_module(self, generator=None):
        row = self.row
        return nvidia_eager.PartialConv(row.dims, row.in_channels, row.out_channels, row.kernel, row.stride, row.padding,
                                        row.dilation, row.groups, row.bias, row.multi_channel, self.choices.eps, generator)

    def agreement(self, fast):
        return agreement.Agreement(self, fast)

    def make_ours(self, choices):
        return self.ours_type(self.device, self.row, choices, self.module, self.sets)

    def agreements(self):
        """Of what pconv computes, by contender."""
        worst = self.agreement(self.choices.fast).worst(["pconv"])
        return worst | self.agreement(True).worst(["pconv, fast"]) if self.has_fast_rival() else worst

    def has_fast_rival(self):
        """Whether fast math, which only pconv has there, takes a turn too."""
        choices = self.choices
        return choices.device == "cpu" and choices.dtype == torch.float32 and not choices.fast and not choices.backward

    def make_sets(self, generator):
        row, choices = self.row, self.choices
        place = lambda t: t.to(choices.device, choices.dtype, memory_format=choices.format_of(row.dims))
        size = torch.finfo(choices.dtype).bits // 8 * (math.prod(row.input_shape) + math.prod(row.mask_shape))
        sets = []
        for _ in range(min(self.most_sets, max(2, choices.cache_bytes // size + 1))):
            x = place(torch.randn(row.input_shape, generator=generator))
            grad = place(torch.randn(row.output_shape, generator=generator)) if choices.backward else None
            valid = seed_tables.mask_values(row.mask, row.mask_shape, torch, generator)
            plane = valid.to(choices.device, torch.uint8)
            sets.append(Inputs(x, None if row.mask == "none" else place(valid), plane, grad))
        return sets

    def make_contenders(self):
        module, sets = self.module, self.sets
        kept = functools.lru_cache(lambda: module.mask_side(sets[0].mask))

        def call(function):
            if self.choices.backward:
                return lambda i: gradients_of(lambda x: function(x, i), module, sets[i].x, sets[i].grad)

            def forward(i):
                with torch.inference_mode():
                    return [function(sets[i].x, i)]
            return forward

        contenders = {"pconv": self.ours}
        if self.has_fast_rival():
            fast = functools.lru_cache(lambda: self.make_ours(dataclasses.replace(self.choices, fast=True)))
            contenders["pconv, fast"] = lambda i: fast()(i)
        contenders["eager"] = call(lambda x, i: module(x, sets[i].mask))
        if hasattr(torch, "compile"):
            torch._dynamo.reset()  # it stops compiling a function of which it has compiled several versions
            compiled = torch.compile(module)
            contenders["compiled"] = call(lambda x, i: compiled(x, sets[i].mask))
        else:
            self.absent["compiled"] = f"PyTorch {torch.__version__} has no torch.compile"
        contenders["plain"] = call(lambda x, i: module.plain(x))
        if self.row.mask != "none":
            contenders["pconv, kept mask"] = self.ours.with_kept_mask
            contenders["eager, kept mask"] = call(lambda x, i: module(x, sets[0].mask, kept()))
        for name in [n for n in contenders if not n.startswith("pconv")]:
            try:
                contenders[name](0)
            except Exception as error:  # torch.compile has many of its own
                self.absent[name] = str(error).strip().split("\n")[0]
                del contenders[name]
        return contenders

    def wait(self):
        if self.choices.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, contender, first, calls):
        indices = [(first + i) % len(self.sets) for i in range(calls)]
        if self.choices.device == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for i in indices:
                contender(i)
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) / 1000 / calls
        start = time.perf_counter()
        for i in indices:
            contender(i)
        return (time.perf_counter() - start) / calls

    def measure(self, progress):
        """Rounds in which everybody has a turn, each round beginning with another."""
        names = list(self.contenders)
        calls, at = {}, dict.fromkeys(names, 0)
        for name in names:
            for _ in range(2):
                self.seconds(self.contenders[name], 0, 2)
            self.wait()
            once = max(1e-7, min(self.seconds(self.contenders[name], i, 1) for i in range(3)))
            calls[name] = max(1, round(self.choices.slice_seconds / once))
        times = {name: Times([]) for name in names}
        for r in range(self.choices.rounds):
            progress(f"{self.row.name}: round {r + 1} of {self.choices.rounds}")
            for k in range(len(names)):
                name = names[(r + k) % len(names)]
                # Threads of the one before still spin for a while.
                self.seconds(self.contenders[name], at[name], (calls[name] + 3) // 4)
                times[name].seconds.append(self.seconds(self.contenders[name], at[name], calls[name]))
                at[name] += calls[name]
        return times

    def peak_bytes(self):
        """Memory during one call beyond inputs and weights. PyTorch counts it on CUDA alone."""
        if self.choices.device != "cuda":
            result = self.contenders["pconv"](0)
            return {"pconv": self.ours_bytes + sum(t.numel() * t.element_size() for t in result)}
        peaks = {}
        for name, contender in self.contenders.items():
            self.wait()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            result = contender(0)
            self.wait()
            peaks[name] = torch.cuda.max_memory_allocated() - before + (self.ours_bytes if name.startswith("pconv") else 0)
            del result
        return peaks

    def base_bytes(self):
        """Inputs, weights and the output."""
        tensors = [self.sets[0].x, self.sets[0].plane, *self.module.parameters()]
        return sum(t.numel() * t.element_size() for t in tensors) + math.prod(
            self.row.output_shape) * self.sets[0].x.element_size()
