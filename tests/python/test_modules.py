"""pconv.nn and pconv.compat as drop-ins: signatures, defaults, returns, errors, state dicts, conversion."""

import copy
import inspect

import pytest

torch = pytest.importorskip("torch")

import oracles  # noqa: E402
import pconv  # noqa: E402
import references  # noqa: E402
from closeness import assert_close  # noqa: E402
from pconv import compat, nn  # noqa: E402

CONVOLUTIONS = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
SIZES = {1: (12,), 2: (9, 8), 3: (5, 6, 4)}


def mask_like(x, channels=1, batch=None):
    return (torch.rand(batch or x.shape[0], channels, *x.shape[2:]) > 0.4).to(x.dtype)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_is_the_plain_module_with_more_arguments(dims):
    cls = getattr(nn, f"PartialConv{dims}d")
    torch.manual_seed(3)
    ours = cls(4, 6, 3, 2, 1, 1, 2, False)
    torch.manual_seed(3)
    plain = CONVOLUTIONS[dims](4, 6, 3, 2, 1, 1, 2, False)
    assert isinstance(ours, CONVOLUTIONS[dims]) and ours.bias is None
    assert ours.stride == plain.stride and ours.groups == 2
    assert torch.equal(ours.weight, plain.weight), "initialized as the plain module is"
    assert (ours.multi_channel, ours.return_mask, ours.eps) == (False, False, 1e-8)
    assert list(ours.state_dict()) == list(plain.state_dict())
    x = torch.randn(2, 4, *SIZES[dims])
    y = ours(x)
    assert isinstance(y, torch.Tensor) and y.shape == plain(x).shape


def test_returns_what_nvidia_returns():
    x = torch.randn(2, 4, 9, 8)
    single = nn.PartialConv2d(4, 6, 3, padding=1, return_mask=True)
    y, u = single(x, mask_like(x))
    assert u.shape == (2, 1, 9, 8) and not u.requires_grad
    assert single(x)[1].shape == (1, 1, 9, 8)
    multi = compat.nvidia.PartialConv2d(4, 6, 3, padding=1, return_mask=True, multi_channel=True)
    assert multi(x, mask_like(x, 4))[1].shape == (2, 6, 9, 8)
    assert multi(x)[1].shape == (2, 6, 9, 8)
    assert multi.slide_winsize == 36 and single(x, mask_in=mask_like(x))[0].shape == y.shape


@pytest.mark.parametrize("name", sorted(references.MODULES))
def test_agrees_with_the_reference_and_loads_its_state_both_ways(name):
    make_reference, make_ours, make_arguments = references.MODULES[name]
    torch.manual_seed(5)
    reference, ours = make_reference(), make_ours()
    ours.load_state_dict(reference.state_dict())
    reference.load_state_dict(ours.state_dict())
    arguments = make_arguments()
    wide = copy.deepcopy(reference).double()
    expected = wide(*[a if a is None else a.double() for a in arguments])
    got = ours(*arguments)
    assert isinstance(got, tuple) == isinstance(expected, tuple)
    for g, e in zip(*(r if isinstance(r, tuple) else (r,) for r in (got, expected))):
        assert (g is None) == (e is None)
        if g is not None:
            assert_close(g.detach(), e.detach(), name)
    # And in a model, in place.
    model = torch.nn.ModuleDict({"one": torch.nn.Sequential(reference), "two": reference})
    parameters = list(model.parameters())
    assert pconv.convert(model) is model
    assert type(model["two"]).__module__.startswith("pconv") and model["one"][0] is model["two"]
    assert [id(p) for p in model.parameters()] == [id(p) for p in parameters]
    again = model["two"](*arguments)
    for a, g in zip(*(r if isinstance(r, tuple) else (r,) for r in (again, got))):
        assert (a is None and g is None) or torch.equal(a, g)
    assert model["two"].state_dict().keys() == ours.state_dict().keys()
    copy.deepcopy(model)


def test_convert_refuses_what_has_nothing_to_convert():
    with pytest.raises(ValueError, match="expected at least one"):
        pconv.convert(torch.nn.Linear(2, 2))
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module"):
        pconv.convert(3)
    lone = references.NvidiaConv2d(4, 6, 3)
    new = pconv.convert(lone)
    assert isinstance(new, compat.nvidia.PartialConv2d) and new.weight is lone.weight


def test_nn_loads_every_references_state():
    for name in ("lyehe2d", "torch_pconv"):
        reference = references.MODULES[name][0]()
        ours = nn.PartialConv2d(4, 6, 3, padding=1)
        state = reference.state_dict()
        if "_bias_view" in state:  # as after .cuda() and training: the forward pass adds the view
            state["_bias_view"] = state["_bias_view"] + 1
        ours.load_state_dict(state)
        bias = state.get("_bias_view", state["bias"])
        assert torch.equal(ours.bias, bias.reshape(-1))


def test_signatures_are_the_references():
    named = lambda cls: {k: p.default for k, p in inspect.signature(cls).parameters.items()}  # noqa: E731
    ours = named(compat.torch_pconv.PConv2d)
    assert list(ours)[2:] == ["kernel_size", "stride", "padding", "dilation", "bias", "legacy_behaviour"]
    assert ours["kernel_size"] == 1 and ours["bias"] is False
    ours = named(compat.masked_torch.PartialConv2d)
    assert ours["multichannel"] is False and ours["eps"] == 1e-8 and list(ours)[9] == "multichannel"
    assert compat.lyehe.PConv2d(2, 2, 3).eps == 1e-6 and compat.lyehe.PConv2d(2, 2, 3).cache_masks is True


def test_lyehes_groups_and_masks_that_change():
    """What is fixed beside the reference: windows of groups whatever their number, one-channel masks, stale caches."""
    layer = compat.lyehe.PConv2d(8, 6, 3, padding=1, groups=2, multi_channel=True, return_mask=True)
    x, mask = torch.randn(1, 8, 9, 8), mask_like(torch.empty(1, 8, 9, 8), 8)
    for m in (mask, mask[:, :1]):
        y, u = layer(x, m)
        expected, updated = oracles.partial_conv(
            *(t.double() for t in (x, layer.weight, layer.bias, m)), padding=1, groups=2, counts="group", eps=1e-6
        )
        assert_close(y.detach(), expected.detach(), "output")
        assert_close(u, updated, "mask")
    before = layer(x, mask)[0]
    mask.mul_(0)
    assert layer(x, mask)[0].abs().max() == 0 and before.abs().max() > 0


def test_a_returned_mask_that_was_written_to_is_not_returned_again():
    layer = nn.PartialConv2d(2, 3, 3, padding=1, return_mask=True)
    x = torch.randn(1, 2, 6, 6)
    mask = torch.ones(1, 1, 6, 6)
    first = layer(x, mask)[1]
    assert layer(x, mask)[1] is first, "kept while nothing changes"
    first.zero_()
    assert layer(x, mask)[1].min() == 1


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda c, x: c(x.int(), None), TypeError, "expected a floating-point type"),
        (lambda c, x: c(x.double(), None), TypeError, "expected one dtype"),
        (lambda c, x: c(x[0], None), ValueError, "expected 4 dimensions"),
        (lambda c, x: c(x[:, :1], None), ValueError, "expected 2, from weight"),
        (lambda c, x: c([1], None), TypeError, "expected tensors"),
        (lambda c, x: c(x, x[:, :1] > 0), TypeError, "expected a floating-point type"),
        (lambda c, x: c(x, x), ValueError, "multi_channel=True"),
        (lambda c, x: c(x, x[:, :1, 1:]), ValueError, r"expected \[3 or 1, 1, 6, 6\]"),
        (lambda c, x: c(x, x[:2, :1]), ValueError, r"expected \[3 or 1, 1, 6, 6\]"),
        (lambda c, x: c(x, 1), TypeError, "expected a tensor"),
        (lambda c, x: c(x, torch.ones(3, 1, 6, 6, device="meta")), ValueError, "expected one device"),
        (lambda c, x: c(x[:, :, :1, :1], None), ValueError, "spans 3 elements; expected at most"),
    ],
)
def test_bad_input_is_told(make, error, words):
    with pytest.raises(error, match=words):
        make(nn.PartialConv2d(2, 3, 3), torch.randn(3, 2, 6, 6))


def test_bad_settings_are_told():
    for arguments, words in (
        ({"eps": -1.0}, "expected a finite number"),
        ({"mask_window": "some"}, "'all_channels' or 'group_channels'"),
        ({"normalization": "x"}, "'window_ratio' or 'mask_sum'"),
    ):
        with pytest.raises(ValueError, match=words):
            nn.PartialConv2d(2, 3, 3, **arguments)
    with pytest.raises(ValueError, match="odd"):
        nn.MaskedConv2d(2, 3, 2)
    with pytest.raises(ValueError, match="stride"):
        pconv.functional.partial_conv(torch.ones(1, 1, 4), torch.ones(1, 1, 3), stride=0)
    with pytest.raises(TypeError, match="3 to 5 dimensions"):
        pconv.functional.partial_conv(torch.ones(1, 1), torch.ones(1, 1))


def test_errors_of_torch_pconv_and_nvidia():
    layer, x, mask = compat.torch_pconv.PConv2d(3, 4, 3), torch.rand(2, 3, 8, 8), torch.ones(2, 8, 8)
    for arguments in ((x[0], mask), (x, mask[:, None]), (x.int(), mask), (x, mask > 0), (x.double(), mask), (x, mask[:1])):
        with pytest.raises(TypeError):
            layer(*arguments)
    with pytest.raises(AssertionError):
        compat.nvidia.PartialConv2d(3, 4, 3)(x[0])
    with pytest.raises(AssertionError):
        compat.masked_torch.PartialConv2d(3, 4, 3, padding_mode="reflect")
    with pytest.raises(AssertionError):
        nn.Masked(nn.MaskedSpatialMean())


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes(mode):
    """As in NVIDIA's module: the input is padded so, the mask with zeros."""
    torch.manual_seed(1)
    layer = nn.PartialConv2d(2, 3, 3, padding=1, padding_mode=mode)
    x, mask = torch.randn(1, 2, 6, 6), (torch.rand(1, 1, 6, 6) > 0.4).float()
    y = layer(x, mask)
    padded = torch.nn.functional.pad(x * mask, (1, 1, 1, 1), mode=mode).double()
    raw = oracles.convolve(padded, layer.weight.double(), (1, 1), (0, 0), (1, 1), 1)
    s = oracles.window_sums(mask.double(), (3, 3), (1, 1), (1, 1), (1, 1))
    expected = (raw * 9 / (s + 1e-8) * s.clamp(0, 1) + layer.bias.double().view(1, -1, 1, 1)) * s.clamp(0, 1)
    assert_close(y.detach(), expected.detach(), mode)


@pytest.mark.parametrize("kernel, padding", [(3, "same"), (4, "same"), ((2, 5), "same"), (3, "valid")])
def test_words_for_padding(kernel, padding):
    torch.manual_seed(1)
    layer = nn.PartialConv2d(2, 3, kernel, padding=padding, dilation=2)
    x, mask = torch.randn(1, 2, 12, 12), (torch.rand(1, 1, 12, 12) > 0.4).float()
    total = [2 * (k - 1) if padding == "same" else 0 for k in layer.kernel_size]
    sides = [n for t in reversed(total) for n in (t // 2, t - t // 2)]
    pad = torch.nn.functional.pad
    expected, _ = oracles.partial_conv(
        pad(x, sides).double(), layer.weight.double(), layer.bias.double(), pad(mask, sides).double(), dilation=2
    )
    assert_close(layer(x, mask).detach(), expected.detach(), "output")


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_unshuffle(dims):
    x = torch.randn(2, 3, *(4, 6, 8)[:dims])
    y = getattr(nn, f"Unshuffle{dims}d")(2)(x)
    assert y.shape == (2, 3 * 2**dims, *(s // 2 for s in x.shape[2:]))
    for c in range(3):
        for k in range(2**dims):
            offset = [(k >> (dims - 1 - d)) & 1 for d in range(dims)]
            part = x[(slice(None), c, *[slice(o, None, 2) for o in offset])]
            assert torch.equal(y[:, c * 2**dims + k], part)
    with pytest.raises(ValueError, match="divisible by"):
        getattr(nn, "Unshuffle1d" if dims == 1 else "Unshuffle3d")(5)(x if dims != 2 else torch.zeros(1, 1, 4, 4, 4))
    mask = torch.ones(2, 3, *x.shape[2:])
    both = getattr(compat.masked_torch, f"MaskedUnshuffle{dims}d")(2)(x, mask)
    assert torch.equal(both[0], y) and both[1].shape == y.shape


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("per_channel", [False, True])
def test_masked_batch_norm(dims, per_channel):
    torch.manual_seed(2)
    norm = getattr(nn, f"MaskedBatchNorm{dims}d")(4, momentum=0.3)
    x = torch.randn(3, 4, *SIZES[dims])
    mask = mask_like(x, 4 if per_channel else 1)
    clean = torch.where(mask.expand_as(x) == 0, torch.zeros_like(x), x).double()
    valid = mask.expand_as(x).double()
    y, same = norm(x.masked_fill(mask == 0, float("nan")), mask)
    assert same is mask
    over = [0, *range(2, x.dim())]
    each = lambda t: t.view(1, -1, *[1] * dims)  # noqa: E731
    mean = clean.sum(over) / valid.sum(over)
    var = (((clean - each(mean)) * valid) ** 2).sum(over) / valid.sum(over)
    assert_close(y.detach(), ((clean - each(mean)) / each(var + 1e-5).sqrt()).detach(), "output", times=4)
    assert_close(norm.running_mean, 0.3 * mean, "running mean")
    assert_close(norm.running_var, 0.7 + 0.3 * var, "running variance")
    assert norm.num_batches_tracked == 1
    norm.eval()
    y, _ = norm(x, mask)
    assert_close(y.detach(), (clean - 0.3 * each(mean)) / (each(0.7 + 0.3 * var) + 1e-5).sqrt(), "evaluation", times=4)
    norm.train()
    y, _ = norm(x, torch.zeros_like(mask))
    assert torch.isfinite(y).all(), "a batch without a valid element"


def test_masked_sequential_and_mean():
    m = compat.masked_torch
    model = m.MaskedSequential(
        m.ApplyMask(),
        m.MaskedConv2d(2, 4, 3, padding=1),
        m.Masked(torch.nn.ReLU()),
        m.MaskedBatchNorm2d(4),
        m.MaskedSpatialMean(),
    )
    x = torch.randn(2, 2, 8, 8)
    y, mask = model(x, mask_like(x, 2))
    assert y.shape == (2, 4) and mask.shape == (2, 4)
    y.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    mean, kept = nn.MaskedSpatialMean()(x, mask_like(x))
    assert kept.shape == (2, 2)
    half = torch.zeros(2, 1, 8, 8)
    half[:, :, :4] = 1
    assert_close(nn.MaskedSpatialMean()(x, half)[0], x[:, :, :4].mean((2, 3)).double(), "mean")
    assert torch.equal(nn.MaskedSpatialMean()(x)[0], x.mean((2, 3))) and mean.shape == (2, 2)
    y, mask = m.UnMask()(x * half, half)
    assert_close(y, (x * half).double(), "unmasked")
