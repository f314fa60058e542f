"""Masks of strokes lie in their band, are the seed's, and keep away from the border where told to."""

import pytest

numpy = pytest.importorskip("numpy")

from pconv import masks  # noqa: E402


@pytest.mark.parametrize("band", range(6))
@pytest.mark.parametrize("border", [True, False])
@pytest.mark.parametrize("size", [(64, 64), (100, 180)])
def test_bands(band, border, size):
    low, high = masks.BANDS[band]
    for seed in range(5):
        mask = masks.irregular(*size, band, border=border, seed=seed)
        assert mask.dtype == bool and mask.shape == size
        assert low < 1 - mask.mean() <= high
        assert (mask == masks.irregular(*size, band, border=border, seed=seed)).all()
        if not border:
            rim = numpy.ones(size, bool)
            rim[2:-2, 2:-2] = False
            assert mask[rim].all()
    assert (masks.irregular(*size, band, seed=1) != masks.irregular(*size, band, seed=2)).any()


def test_bad_input_is_told():
    for arguments, words in (((8, 64), "height"), ((64, 64, 6), "0 to 5"), ((64, 64, (0.5, 0.4)), "more than")):
        with pytest.raises(ValueError, match=words):
            masks.irregular(*arguments)
