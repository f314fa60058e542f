"""pconv.Network: modules of PyTorch as networks on a device, and as model files."""

import copy
import threading

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import pconv  # noqa: E402
import references  # noqa: E402
from closeness import assert_close  # noqa: E402
from pconv import compat  # noqa: E402
from pconv import nn as pnn  # noqa: E402

DEVICES = ["cpu", "vulkan"]
LAYERS_APART = 8.0  # of the bound of one operator: a network has a few


def need(device):
    reason = next((b.reason for b in pconv.backends() if b.name == device), "not built")
    if reason:
        pytest.skip(f"no device of {device}: {reason}")


def holes(batch=1, size=(16, 16), channels=1):
    mask = torch.ones(batch, channels, *size)
    for i in range(batch):
        for c in range(channels):
            mask[(i, c, *[slice(2 + i + c, s - 4 - c) for s in size])] = 0
    return mask


def randomized(model):
    """In evaluation, with statistics that are not those of a new module."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.weight is not None:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
    return model.eval()


def expected_of(model, *inputs):
    """In float64."""
    with torch.no_grad():
        return copy.deepcopy(model).double()(*(t.double() for t in inputs))


def check(model, *inputs, device="cpu", times=LAYERS_APART):
    network = pconv.Network(model, inputs, device=device)
    got, expected = network(*inputs), expected_of(model, *inputs)
    if not isinstance(expected, tuple):
        got, expected = (got,), (expected,)
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        assert_close(a, b.to(torch.float64), type(model).__name__, times)
    return network


class Block(nn.Module):
    def __init__(self, channels, out_channels, kernel=3, stride=1, multi=False, activation=None):
        super().__init__()
        self.conv = pnn.PartialConv2d(
            channels, out_channels, kernel, stride, kernel // 2, bias=False, multi_channel=multi, return_mask=True
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = activation or nn.ReLU(inplace=True)

    def forward(self, x, mask):
        x, mask = self.conv(x, mask)
        return self.activation(self.norm(x)), mask[:, :1]


class UNet(nn.Module):
    """Two levels, skips with their masks."""

    def __init__(self, last=None, mode="nearest"):
        super().__init__()
        self.down1, self.down2 = Block(3, 8, 5, 2), Block(8, 12, 3, 2)
        self.up1, self.up2 = Block(20, 8, multi=True, activation=nn.LeakyReLU(0.2)), Block(11, 8, multi=True)
        self.last, self.mode = last or nn.Conv2d(8, 3, 1), mode

    def join(self, x, mask, skip, skip_mask):
        linear = {"mode": "bilinear", "align_corners": False} if self.mode == "bilinear" else {"mode": "nearest"}
        x, mask = F.interpolate(x, scale_factor=2, **linear), F.interpolate(mask, size=skip_mask.shape[2:])
        planes = [m.expand(-1, t.shape[1], -1, -1) for t, m in ((x, mask), (skip, skip_mask))]
        return torch.cat([x, skip], dim=1), torch.cat(planes, dim=1)

    def forward(self, x, mask):
        a, mask_a = self.down1(x, mask)
        b, mask_b = self.down2(a, mask_a)
        c, mask_c = self.up1(*self.join(b, mask_b, a, mask_a))
        d, _ = self.up2(*self.join(c, mask_c, x, mask))
        return self.last(d)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_u_net_gives_what_its_module_gives(device, mode):
    need(device)
    torch.manual_seed(1)
    model = randomized(UNet(mode=mode))
    network = check(model, torch.randn(1, 3, 16, 16), holes(), device=device)
    kinds = [layer["type"] for layer in network.layers]
    # What a normalization leaves in holes is seen by the plain convolution and by linear upsampling: it is then not folded.
    assert (
        kinds.count("batch_norm") == {"nearest": 1, "bilinear": 3}[mode]
        and kinds.count("scale") == 0
        and kinds.count("partial_conv") == 4
    )
    for batch, size in ((2, (24, 16)), (1, (8, 40)), (3, (16, 16))):
        x, mask = torch.randn(batch, 3, *size), holes(batch, size)
        assert_close(network(x, mask), expected_of(model, x, mask), f"{batch}, {size}", LAYERS_APART)


@pytest.mark.parametrize("device", DEVICES)
def test_masks_with_fractions_are_the_modules_too(device):
    need(device)
    torch.manual_seed(2)
    model = randomized(UNet())
    mask = torch.rand(1, 1, 16, 16)
    mask[:, :, 3:11, 3:12] = 0
    check(model, torch.randn(1, 3, 16, 16), mask, device=device)


class Chain(nn.Module):
    """Partial convolutions, then what is given; `ends` says what the module returns."""

    def __init__(self, *rest, ends="features", multi=False, mask=True, groups=1):
        super().__init__()
        self.first = pnn.PartialConv2d(4, 6, 3, padding=1, return_mask=True, multi_channel=multi, groups=1)
        self.second = pnn.PartialConv2d(
            6, 8, 3, 2, 1, return_mask=True, multi_channel=True, groups=groups, mask_window="group_channels"
        )
        self.rest, self.ends, self.mask = nn.Sequential(*rest), ends, mask

    def forward(self, x, mask=None):
        x, mask = self.first(x, mask)
        x, mask = self.second(x.relu(), mask if self.mask else None)
        return self.rest(x) if self.ends == "features" else (x, mask)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = pnn.PartialConv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = pnn.PartialConv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.down = nn.Conv2d(4, 4, 1, bias=False)

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        y += self.down(x)
        return F.leaky_relu(y, 0.1)


class Crop(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.same = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, padding="same")

    def forward(self, x):
        small = self.down(x)
        return torch.cat([small, self.same(x)[..., 1:-1, 1 : x.shape[3] - 1]], 1)


class Twice(nn.Module):
    """One module in two places, values that are changed in place after they were kept."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")

    def forward(self, x):
        y = self.conv(x)
        kept = y
        y.relu_()
        return torch.add(self.conv(y), kept)


def classifier():
    return nn.Sequential(
        pnn.PartialConv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8, affine=False), nn.ReLU(True), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 8, 3, groups=2, padding_mode="replicate", padding=1), nn.GELU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 5),
    )  # fmt: skip


PLAIN = {
    "classifier": classifier,
    "residual": Residual,
    "crop": Crop,
    "in place": Twice,
    "linear over pixels": lambda: nn.Sequential(nn.Conv2d(4, 2, 3, 2), nn.Flatten(), nn.Linear(2 * 49, 3)),
    "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2), nn.ReLU()),
    "one layer": lambda: pnn.PartialConv2d(4, 6, 3, padding=2, dilation=2),
    "windows beside the input": lambda: nn.Sequential(pnn.PartialConv2d(4, 6, 2, padding=2), pnn.PartialConv2d(6, 3, 3)),
    "sigmoid": lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.Sigmoid(), nn.Upsample(scale_factor=3, mode="bilinear")),
    "uneven": lambda: nn.Sequential(nn.Conv2d(4, 4, (2, 4), padding="same"), nn.BatchNorm2d(4, eps=1e-3)),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", sorted(PLAIN))
def test_modules_without_masks(name, device):
    need(device)
    torch.manual_seed(3)
    check(randomized(PLAIN[name]()), torch.randn(2, 4, 16, 16), device=device)


MASKED = {
    "returns the mask": lambda: Chain(ends="both"),
    "returns groups of masks": lambda: Chain(ends="both", groups=2, multi=True),
    "mask left behind": lambda: Chain(nn.Conv2d(8, 3, 1), mask=False),
    "pooled": lambda: Chain(nn.AvgPool2d(2, 2, 1, count_include_pad=False), nn.Conv2d(8, 3, 1)),
    "max pooled": lambda: Chain(nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.Conv2d(8, 3, 1)),
    "normalized and seen": lambda: Chain(nn.BatchNorm2d(8), nn.ReLU()),
}


@pytest.mark.parametrize("name", sorted(MASKED))
def test_modules_with_masks(name):
    torch.manual_seed(4)
    model = randomized(MASKED[name]())
    network = check(model, torch.randn(2, 4, 16, 16), holes(2))
    x, mask = torch.randn(3, 4, 20, 20), holes(1, (20, 20))  # one mask for the batch
    got, expected = network(x, mask), expected_of(model, x, mask)
    for a, b in zip(*((v if isinstance(v, tuple) else (v,)) for v in (got, expected))):
        assert_close(a, b, name, LAYERS_APART)


def test_a_mask_that_is_left_out():
    torch.manual_seed(10)
    check(Chain(ends="both").eval(), torch.randn(1, 4, 16, 16))


def test_masks_of_every_channel():
    model = randomized(pnn.PartialConv2d(4, 6, 3, padding=1, multi_channel=True, return_mask=True))
    check(model, torch.randn(2, 4, 16, 16), holes(2, channels=4))


class Dense(nn.Module):
    """What one mask belongs to, joined, has one mask."""

    def __init__(self):
        super().__init__()
        self.first, self.second = pnn.PartialConv2d(4, 6, 3, padding=1, return_mask=True), pnn.PartialConv2d(12, 3, 3)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x, mask):
        x, mask = self.first(x, mask)
        return self.second(torch.cat([F.relu(x), self.norm(x)], 1), mask)


@pytest.mark.parametrize("device", DEVICES)
def test_what_has_one_mask_keeps_it_where_it_is_joined(device):
    need(device)
    torch.manual_seed(11)
    check(randomized(Dense()), torch.randn(1, 4, 16, 16), holes(), device=device)


class Pooling(nn.Module):
    """The mask pooled as the features are; a multiplication by it that changes nothing that is seen."""

    def __init__(self):
        super().__init__()
        self.first, self.second = pnn.PartialConv2d(4, 6, 3, padding=1, return_mask=True), pnn.PartialConv2d(6, 3, 3, padding=1)

    def forward(self, x, mask):
        x, mask = self.first(x * mask, mask)
        x, mask = F.max_pool2d(F.relu(x), 2), F.max_pool2d(mask, 2)
        return self.second(x[:, :, 1:, :], mask[:, :, 1:, :]) if self.is_tall(x) else self.second(x, mask)

    def is_tall(self, x):
        return False


class Depends(Pooling):
    def is_tall(self, x):
        return bool(x.sum() > 0)


def test_pooled_masks():
    torch.manual_seed(5)
    check(Pooling().eval(), torch.randn(1, 4, 16, 16), holes())


@pytest.mark.parametrize("dims", [1, 3])
def test_one_and_three_dimensions(dims):
    torch.manual_seed(6)
    conv, norm = getattr(pnn, f"PartialConv{dims}d"), getattr(nn, f"BatchNorm{dims}d")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm = conv(2, 4, 3, 2, 1, return_mask=True), norm(4)
            self.b = conv(4, 3, 3, padding=1, return_mask=True)

        def forward(self, x, mask):
            x, mask = self.a(x, mask)
            return self.b(F.gelu(self.norm(x)), mask)

    size = (12,) * dims
    check(randomized(Net()), torch.randn(2, 2, *size), holes(2, size))


class Stack(nn.Module):
    """Two of a reference implementation's modules."""

    def __init__(self, make, squeezed=False):
        super().__init__()
        self.a, self.b, self.squeezed = make(4, 6), make(6, 4), squeezed

    def forward(self, x, mask):
        if self.squeezed:
            mask = mask[:, 0]
        x, mask = self.a(x, mask)
        x, mask = self.b(F.relu(x), mask)
        return x, mask


STACKS = {
    "nvidia": (compat.nvidia.PartialConv2d, {"kernel_size": 3, "return_mask": True, "padding": 1}),
    "NVIDIA's own": (references.NvidiaConv2d, {"kernel_size": 3, "return_mask": True, "padding": 1}),
    "lyehe": (compat.lyehe.PConv2d, {"kernel_size": 3, "return_mask": True, "stride": 2}),
    "lyehe's own": (references.LyeheConv2d, {"kernel_size": 3, "return_mask": True, "stride": 2}),
    "torch_pconv": (compat.torch_pconv.PConv2d, {"kernel_size": 3, "padding": 1, "bias": True}),
    "masked_torch": (compat.masked_torch.PartialConv2d, {"kernel_size": 3, "multichannel": True}),
    "masked convolution": (compat.masked_torch.MaskedConv2d, {"kernel_size": 3, "padding": 1}),
}


@pytest.mark.parametrize("name", sorted(STACKS))
def test_the_reference_implementations_modules(name):
    torch.manual_seed(7)
    make, settings = STACKS[name]
    model = Stack(lambda a, b: make(a, b, **settings), squeezed=name == "torch_pconv").eval()
    x, mask = torch.randn(1, 4, 16, 16), holes()
    if "masked" in name:
        x = x * mask
    got = pconv.Network(model, (x, mask), device="cpu")(x, mask)
    with torch.no_grad():
        expected = model(x, mask)
    for a, b in zip(got, expected):
        assert_close(a, b, name, LAYERS_APART)


class MaskedTorch(nn.Module):
    def __init__(self):
        super().__init__()
        mt = compat.masked_torch
        self.net = mt.MaskedSequential(
            mt.ApplyMask(), mt.PartialConv2d(4, 6, 3, padding=1, multichannel=True), mt.MaskedBatchNorm2d(6),
            mt.Masked(nn.ReLU()), mt.ApplyMask(), mt.PartialConv2d(6, 4, 3, padding=1, multichannel=True),
        )  # fmt: skip

    def forward(self, x, mask):
        return self.net(x, mask)


def test_masked_sequences():
    torch.manual_seed(8)
    model = randomized(MaskedTorch())
    x, mask = torch.randn(1, 4, 16, 16), holes()
    got = pconv.Network(model, (x, mask), device="cpu")(x, mask)
    with torch.no_grad():
        expected = model(x, mask)
    for a, b in zip(got, expected):
        assert_close(a, b, "masked_torch", LAYERS_APART)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types(dtype):
    torch.manual_seed(9)
    model = randomized(UNet())
    network = pconv.Network(model, (torch.randn(1, 3, 16, 16), holes()), device="cpu")
    x, mask = torch.randn(1, 3, 16, 16).to(dtype), holes().to(dtype)
    y = network(x, mask)
    assert y.dtype == dtype
    assert_close(y, expected_of(model, x, mask), str(dtype), LAYERS_APART)


def test_weights_are_those_of_then_and_the_model_is_left_alone():
    model = randomized(UNet())
    before = copy.deepcopy(model.state_dict())
    x, mask = torch.randn(1, 3, 16, 16), holes()
    network = pconv.Network(model, (x, mask), device="cpu")
    first = network(x, mask)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))
    with torch.no_grad():
        model.last.weight.zero_()
    assert torch.equal(network(x, mask), first)


def test_another_mask_and_the_same_again():
    """The mask side is kept where the mask is the one of the call before."""
    model = randomized(UNet())
    x = torch.randn(1, 3, 16, 16)
    network = pconv.Network(model, (x, holes()), device="cpu")
    other = holes().flip(2)
    for mask in (holes(), holes(), other, holes(), other, other):
        assert_close(network(x, mask), expected_of(model, x, mask), "", LAYERS_APART)


def test_threads():
    model = randomized(UNet())
    inputs = [(torch.randn(1, 3, 16, 16), holes().roll(i, 2)) for i in range(4)]
    network = pconv.Network(model, inputs[0], device="cpu")
    expected = [network(*i) for i in inputs]
    results = [None] * 4

    def work(i):
        results[i] = [network(*inputs[i]) for _ in range(10)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(torch.equal(y, expected[i]) for i in range(4) for y in results[i])


# ---- Bad input


class Returns(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.function = pnn.PartialConv2d(4, 4, 3, padding=1, return_mask=True), function

    def forward(self, x, mask):
        y, updated = self.conv(x, mask)
        return self.function(x, mask, y, updated)


UNSUPPORTED = {
    "a module": (nn.Sequential(nn.Conv2d(4, 4, 3), nn.Softmax(1)), "1: the module Softmax; supported are"),
    "a subclass": (nn.Sequential(nn.Conv2d(4, 4, 3), nn.InstanceNorm2d(4)), "1: the module InstanceNorm2d"),
    "a mode": (nn.Sequential(nn.Conv2d(4, 4, 3), nn.Upsample(scale_factor=2, mode="bicubic")), "1: upsampling in mode 'bicubic'"),
    "a factor": (nn.Sequential(nn.Conv2d(4, 4, 3), nn.Upsample(size=(15, 15))), "no whole factor"),
    "a pool": (nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Conv2d(4, 4, 1)), "0: AdaptiveAvgPool2d to 2"),
    "statistics": (nn.Sequential(nn.BatchNorm2d(4, track_running_stats=False)), "0: a batch normalization without running"),
    "its input": (nn.Sequential(nn.Identity()), "expected at least one layer"),
}


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_what_is_not_supported_is_named(name):
    model, text = UNSUPPORTED[name]
    with pytest.raises(TypeError, match=text):
        pconv.Network(model.eval(), torch.randn(1, 4, 16, 16), device="cpu")


UNSUPPORTED_MASKS = {
    "composite": (lambda x, m, y, u: x * m + y * (1 - m), "the function r?sub"),
    "mask as features": (lambda x, m, y, u: torch.cat([y, u], 1), "concatenation of features with something else"),
    "masks only": (lambda x, m, y, u: u, "the model returns a mask"),
    "three": (lambda x, m, y, u: (y, u, m), "the model returns \\(features, a mask, a mask\\)"),
    "seen masking": (lambda x, m, y, u: (x + y) * u, "not the one that its input has"),
    "dropout": (lambda x, m, y, u: F.dropout(y), "dropout with training=True"),
    "an argument": (lambda x, m, y, u: F.interpolate(y, scale_factor=2, colour=1), "torch.fx cannot trace"),
    "a type": (lambda x, m, y, u: y.flatten(None), "the function flatten with such arguments"),
    "function": (lambda x, m, y, u: torch.tanh(y), "tanh: the function tanh; supported are"),
}


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_MASKS))
def test_what_no_network_has_is_told(name):
    function, text = UNSUPPORTED_MASKS[name]
    with pytest.raises(TypeError, match=text):
        pconv.Network(Returns(function).eval(), (torch.randn(1, 4, 16, 16), holes()), device="cpu")


def test_a_graph_that_depends_on_values_is_told():
    with pytest.raises(TypeError, match=r"torch\.fx cannot trace Depends"):
        pconv.Network(Depends().eval(), (torch.randn(1, 4, 16, 16), holes()), device="cpu")


def test_hooks():
    x = torch.randn(1, 4, 16, 16)
    model = nn.Sequential(torch.nn.utils.weight_norm(nn.Conv2d(4, 4, 3)), nn.ReLU()).eval()
    with torch.no_grad():
        model[0].weight_g.mul_(2)
        expected = model(x)
    assert_close(pconv.Network(model, x, device="cpu")(x), expected, "weight_norm")
    model[1].register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(TypeError, match="1: the module ReLU with forward hooks"):
        pconv.Network(model, x, device="cpu")


class WrongMask(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = pnn.PartialConv2d(4, 4, 3, padding=1, return_mask=True)
        self.b = pnn.PartialConv2d(4, 4, 3, padding=1)

    def forward(self, x, mask):
        return self.b(self.a(x, mask)[0], mask)


def test_a_mask_of_other_features_is_told():
    with pytest.raises(TypeError, match="b: its mask is not the one that its input has"):
        pconv.Network(WrongMask().eval(), (torch.randn(1, 4, 16, 16), holes()), device="cpu")


def test_arguments_are_checked():
    x, mask = torch.randn(1, 3, 16, 16), holes()
    model = randomized(UNet())
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module"):
        pconv.Network(len, x)
    with pytest.raises(ValueError, match=r"training mode; expected model\.eval\(\)"):
        pconv.Network(UNet(), (x, mask))
    with pytest.raises(TypeError, match="expected a tensor, or a tensor and its mask"):
        pconv.Network(model, (x, mask, mask))
    with pytest.raises(TypeError, match=r"torch\.float32, torch\.bool; expected floating-point"):
        pconv.Network(model, (x, mask.bool()))
    with pytest.raises(ValueError, match=r"expected \[1 or 1, 1 or 3, 16, 16\]"):
        pconv.Network(model, (x, mask[..., :8]))
    with pytest.raises(TypeError, match="takes no mask"):
        pconv.Network(randomized(Residual()), (torch.randn(1, 4, 16, 16), mask))
    with pytest.raises(pconv.Error, match="no device 'abacus'"):
        pconv.Network(model, (x, mask), device="abacus")
    network = pconv.Network(model, (x, mask), device="cpu")
    for arguments, error, text in (
        ((x.double(), mask), TypeError, "expected a tensor of float32"),
        ((x[:, :2], mask), ValueError, "3 channels"),
        ((x,), TypeError, "no mask is given"),
        ((x, mask.bool()), TypeError, "mask is torch.bool"),
        ((x, mask.expand(1, 3, 16, 16)), ValueError, r"expected \[1 or 1, 1, 16, 16\]"),
        ((x, 0.5 * mask), ValueError, "values beside 0 and 1"),
        ((torch.randn(1, 3, 15, 15), torch.ones(1, 1, 15, 15)), ValueError, "differ in size"),
    ):
        with pytest.raises(error, match=text):
            network(*arguments)
    assert_close(network(x, mask), expected_of(model, x, mask), "after faults", LAYERS_APART)
