"""Look inside a trained network: which images excite a unit most, and what it sees in them.

    python examples/look_inside.py              images of the embedded data set
    python examples/look_inside.py *.jpg        your own photos

Writes look_inside.png: the images, then what makes the unit react by gradient, guided backpropagation and deconvnet.
"""

import sys

import numpy as np
from PIL import Image

import minidl as md

LAYER = "inception2.b5"  # 5x5 filters in the second inception module


def main(photos: list[str], images: int = 200) -> np.ndarray:
    """Draws the picture and returns the deconvnet's projections."""
    trained = md.load_checkpoint(md.models.weights_file("refined"))
    model, about = trained.build(md.models.build), trained.about
    if photos:
        pixels = np.stack([np.asarray(Image.open(photo).convert("RGB").resize((64, 64))) for photo in photos])
    else:
        pixels = md.load_shapes().val.images(np.arange(images))
    x = md.normalise(pixels, about.mean, about.std)

    maps = md.activations(model, x, LAYER)[LAYER]  # (N, 16, 16, units)
    strength = maps.max(axis=(1, 2))  # (N, units)
    unit = int((strength.max(axis=0) - strength.mean(axis=0)).argmax())  # one that stands out on some images
    best = np.argsort(-strength[:, unit], kind="stable")[:8]
    print(f"{LAYER}[{unit}] is excited most by images {', '.join(map(str, best))}: {strength[best, unit].round(1)}")

    ways = [way(model, x[best], LAYER, unit) for way in (md.gradient, md.guided, md.deconv)]
    md.picture(pixels[best], maps[best, ..., unit], *ways).save("look_inside.png")
    print("look_inside.png: the images, the unit's map, gradient, guided backpropagation, deconvnet")
    return ways[-1]


if __name__ == "__main__":
    main(sys.argv[1:])
