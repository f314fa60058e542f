"""The losses against their definitions, written out."""

import pytest

torch = pytest.importorskip("torch")

from pconv import losses  # noqa: E402


def pictures(seed=0):
    g = torch.Generator().manual_seed(seed)
    output, target = (torch.rand(2, 3, 10, 12, generator=g, dtype=torch.float64) for _ in range(2))
    mask = torch.ones(2, 1, 10, 12, dtype=torch.float64)
    mask[0, :, 3:6, 4:9] = 0
    return output.requires_grad_(), target, mask


def features(x):
    return [x[:, :, ::2, ::2] * 2, x.mean(1, keepdim=True).repeat(1, 5, 1, 1)]


def test_hole_and_valid():
    output, target, mask = pictures()
    hole = valid = 0.0
    for n, c, y, x in torch.cartesian_prod(*[torch.arange(s) for s in output.shape]).tolist():
        difference = abs(output[n, c, y, x] - target[n, c, y, x]).item()
        if mask[n, 0, y, x]:
            valid += difference
        else:
            hole += difference
    assert losses.hole(output, target, mask).item() == pytest.approx(hole / output.numel())
    assert losses.valid(output, target, mask).item() == pytest.approx(valid / output.numel())


def test_gram_and_its_range_in_half():
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    gram = losses.gram(x)
    for i in range(4):
        for j in range(4):
            expected = (x[:, i] * x[:, j]).sum((1, 2)) / (4 * 5 * 6)
            assert torch.allclose(gram[:, i, j], expected)
    big = torch.full((1, 2, 64, 64), 30.0, dtype=torch.bfloat16)  # whose plain product is 3.7 million
    assert torch.isfinite(losses.gram(big)).all() and losses.gram(big)[0, 0, 0].item() == pytest.approx(450, rel=0.02)


def test_total_variation_is_of_the_rim():
    output, target, mask = pictures()
    filled = losses.composite(output, target, mask)
    assert torch.equal(filled[mask.expand_as(filled) > 0], target[mask.expand_as(filled) > 0])
    region = torch.zeros(2, 10, 12, dtype=torch.bool)
    region[0, 2:7, 3:10] = True
    assert torch.equal(losses.rim(mask)[:, 0] > 0, region)
    across = sum(
        abs(filled[0, c, y, x + 1] - filled[0, c, y, x]).item() for c in range(3) for y in range(2, 7) for x in range(3, 9)
    )
    down = sum(
        abs(filled[0, c, y + 1, x] - filled[0, c, y, x]).item() for c in range(3) for y in range(2, 6) for x in range(3, 10)
    )
    expected = across / (2 * 3 * 10 * 11) + down / (2 * 3 * 9 * 12)
    assert losses.total_variation(filled, mask).item() == pytest.approx(expected)
    assert losses.total_variation(filled, torch.ones_like(mask)).item() == 0


def test_all_together():
    output, target, mask = pictures()
    loss = losses.InpaintingLoss(features)
    total, terms = loss(output, target, mask)
    weights = losses.Weights()
    assert set(terms) == {"valid", "hole", "perceptual", "style", "total_variation"}
    assert total.item() == pytest.approx(sum(getattr(weights, n) * t.item() for n, t in terms.items()))
    filled = losses.composite(output, target, mask)
    expected = sum((a - b).abs().mean() for part in (output, filled) for a, b in zip(features(part), features(target)))
    assert terms["perceptual"].item() == pytest.approx(expected.item())
    total.backward()
    assert output.grad.isfinite().all() and output.grad.abs().max() > 0
    exact, _ = loss(target, target, mask)
    assert exact.item() < 1 and set(losses.InpaintingLoss()(output, target, mask)[1]) == {"valid", "hole", "total_variation"}
    with pytest.raises(ValueError, match=r"a mask \[N, 1, H, W\]"):
        loss(output, target, mask[:, 0])
