"""Masks with irregular holes, as the test set of the paper has them: strokes, in six bands of how much is missing.

The bands are those of Liu et al., ECCV 2018: (0.01, 0.1], (0.1, 0.2], ... (0.5, 0.6] of the picture, with and without holes
that touch its border.
"""

from __future__ import annotations

import numpy

BANDS = ((0.01, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6))
_TRIES = 64


def _disc(radius: int) -> numpy.ndarray:
    y, x = numpy.ogrid[-radius : radius + 1, -radius : radius + 1]
    return x * x + y * y <= radius * radius


def _stamp(holes: numpy.ndarray, y: int, x: int, disc: numpy.ndarray) -> None:
    radius = disc.shape[0] // 2
    top, left = max(0, y - radius), max(0, x - radius)
    bottom, right = min(holes.shape[0], y + radius + 1), min(holes.shape[1], x + radius + 1)
    if top < bottom and left < right:
        part = disc[top - y + radius : bottom - y + radius, left - x + radius : right - x + radius]
        holes[top:bottom, left:right] |= part


def _stroke(holes: numpy.ndarray, random: numpy.random.Generator, margin: int) -> None:
    """A thick line that turns as it goes."""
    height, width = holes.shape
    size = min(height, width)
    radius = int(random.integers(max(1, size // 64), max(2, size // 20) + 1))
    disc = _disc(radius)
    low, edge = margin + radius, (height - margin - radius, width - margin - radius)
    y, x = random.uniform(low, max(low + 1, edge[0])), random.uniform(low, max(low + 1, edge[1]))
    angle = random.uniform(0, 2 * numpy.pi)
    step = max(1.0, radius / 2)
    for _ in range(int(random.integers(4, 10))):
        angle += random.normal(0, 0.9)
        for _ in range(int(random.integers(size // 16, size // 6 + 2) / step) + 1):
            if margin:  # turn back before the border
                y, x = (min(max(v, low), e - 1) for v, e in zip((y, x), edge))
            _stamp(holes, round(y), round(x), disc)
            y, x = y + step * numpy.sin(angle), x + step * numpy.cos(angle)


def irregular(
    height: int,
    width: int,
    band: int | tuple[float, float] = 2,
    *,
    border: bool = True,
    seed: int | numpy.random.Generator | None = None,
) -> numpy.ndarray:
    """A mask ``(height, width)`` of bool, True where valid, whose part of holes lies in a band.

    Args:
        band: an index into ``BANDS``, or the band itself, ``(more than, at most)``.
        border: holes may touch the border; else none comes within a sixteenth of the shorter side of it.
        seed: of ``numpy.random.default_rng``; the same one gives the same mask.
    """
    for name, value in (("height", height), ("width", width)):
        if not isinstance(value, (int, numpy.integer)) or value < 16:
            raise ValueError(f"{name} is {value!r}; expected an int of at least 16")
    if isinstance(band, (int, numpy.integer)):
        if not 0 <= band < len(BANDS):
            raise ValueError(f"band is {band}; expected 0 to {len(BANDS) - 1}")
        band = BANDS[band]
    low, high = band
    if not 0 <= low < high <= 0.9:
        raise ValueError(f"band is {band!r}; expected (more than, at most) with 0 <= more than < at most <= 0.9")
    random = seed if isinstance(seed, numpy.random.Generator) else numpy.random.default_rng(seed)
    margin = 0 if border else max(2, min(height, width) // 16)
    target = random.uniform(low, high)
    holes = numpy.zeros((height, width), bool)
    tries = 0
    while holes.mean() <= low or holes.mean() < target:
        more = holes.copy()
        _stroke(more, random, margin)
        if more.mean() <= high:
            holes = more
            continue
        tries += 1
        if holes.mean() > low and tries > 3:
            break
        if tries > _TRIES:
            raise ValueError(f"no strokes found for band {band!r} in {height}x{width}; expected a wider band or a larger picture")
    return ~holes
