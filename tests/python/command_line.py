"""What the pconv command makes of pictures, as the fixture `command` runs it."""

import numpy
import pytest


def filled_by_command(command, folder, model, pixels, mask):
    """What `pconv inpaint --model` leaves in the hole, beyond the rim that it corrects."""
    Image = pytest.importorskip("PIL.Image", reason="no Pillow; expected Debian's python3-pil")
    Image.fromarray(pixels).save(folder / "picture.png")
    Image.fromarray((mask * 255).astype("uint8")).save(folder / "mask.png")
    command(
        "inpaint", folder / "picture.png", "--mask", folder / "mask.png", "--model", model, "-o", folder / "filled.png",
        "--device", "cpu",
    )  # fmt: skip
    return numpy.asarray(Image.open(folder / "filled.png")).astype(float)
