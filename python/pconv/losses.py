"""The losses of partial-convolution inpainting: Liu et al., ECCV 2018, section 3.3.

All take pictures ``[N, C, H, W]`` and masks ``[N, 1, H, W]`` that are 1 where valid, and return scalars. The network whose
features are compared is the caller's: any module or function from pictures to a list of feature maps, such as the first
three pooling layers of VGG-16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Features = Callable[[Tensor], Sequence[Tensor]]


class Weights(NamedTuple):
    """Of the terms; the defaults are the paper's."""

    valid: float = 1.0
    hole: float = 6.0
    perceptual: float = 0.05
    style: float = 120.0
    total_variation: float = 0.1


def composite(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The output in the holes, the target elsewhere."""
    return torch.where(mask > 0, target, output)


def hole(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The mean over all elements of ``|output - target|`` in holes."""
    return ((1 - mask) * (output - target)).abs().mean()


def valid(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The mean over all elements of ``|output - target|`` where valid."""
    return (mask * (output - target)).abs().mean()


def gram(features: Tensor) -> Tensor:
    """``[N, C, C]``: the features' products, divided by ``C * H * W``; one half before the product and the other after it, so
    that sums in float16 neither overflow nor lose what is small."""
    n, c, h, w = features.shape
    flat = features.reshape(n, c, h * w) / (h * w) ** 0.5
    return flat @ flat.transpose(1, 2) / c


def _sum(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum() if terms else torch.zeros(())


def perceptual(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """The sum over layers of the mean difference of features."""
    return _sum([(a - b).abs().mean() for a, b in zip(ours, theirs)])


def style(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """The sum over layers of the mean difference of Gram matrices."""
    return _sum([(gram(a) - gram(b)).abs().mean() for a, b in zip(ours, theirs)])


def rim(mask: Tensor) -> Tensor:
    """The holes and the ring of one pixel around them: 1 there, else 0."""
    return torch.nn.functional.max_pool2d((mask == 0).to(mask.dtype), 3, stride=1, padding=1)


def total_variation(picture: Tensor, mask: Tensor) -> Tensor:
    """The mean difference of neighbours that both lie in the holes or on their rim of one pixel; 0 without a hole."""
    region = rim(mask)
    across = region[..., :, 1:] * region[..., :, :-1]
    down = region[..., 1:, :] * region[..., :-1, :]
    x = ((picture[..., :, 1:] - picture[..., :, :-1]).abs() * across).mean()
    y = ((picture[..., 1:, :] - picture[..., :-1, :]).abs() * down).mean()
    return x + y


class InpaintingLoss(torch.nn.Module):
    """The weighted sum of the terms, and the terms themselves by name.

    Args:
        features: from pictures to a list of feature maps; None leaves the perceptual and the style term out.
        weights: of the terms.

    ``forward(output, target, mask)`` returns ``(total, {name: term})``; the terms are not weighted.
    """

    def __init__(self, features: Features | None = None, weights: Weights = Weights()) -> None:  # noqa: B008 - immutable
        super().__init__()
        self.features, self.weights = features, weights

    def forward(self, output: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if output.shape != target.shape or mask.shape != (output.shape[0], 1, *output.shape[2:]):
            raise ValueError(
                f"output has shape {list(output.shape)}, target {list(target.shape)}, mask {list(mask.shape)}; expected "
                "output and target alike, and a mask [N, 1, H, W]"
            )
        filled = composite(output, target, mask)
        terms = {
            "valid": valid(output, target, mask),
            "hole": hole(output, target, mask),
            "total_variation": total_variation(filled, mask),
        }
        if self.features is not None:
            with torch.no_grad():
                wanted = self.features(target)
            of_output, of_filled = self.features(output), self.features(filled)
            terms["perceptual"] = perceptual(of_output, wanted) + perceptual(of_filled, wanted)
            terms["style"] = style(of_output, wanted) + style(of_filled, wanted)
        return sum(getattr(self.weights, name) * term for name, term in terms.items()), terms
