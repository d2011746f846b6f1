"""A residual network of your own, thinner than resnet18, on the embedded data set: built, trained, measured.

Its rows are data, as in `models/resnet.py`: blocks, filters, stride, and the convolutions of a block.

    python examples/resnet.py [EPOCHS]

Source: He et al., Deep residual learning for image recognition, 2015.
"""

import sys

import numpy as np

import minidl as md
from minidl.models.resnet import BASIC, Blocks, build_resnet

ROWS = {"layer1": Blocks(1, 16, 2, BASIC), "layer2": Blocks(1, 32, 2, BASIC), "layer3": Blocks(1, 64, 2, BASIC)}


def main(epochs: int = 6, images: int = 4000, threads: int = 0) -> float:
    """Trains on `images` images, prints and returns the accuracy on images it has not seen."""
    data = md.load_shapes(train=images, val=max(images // 4, 20))
    mean, std = md.channel_statistics(data.train)
    batches = md.Loader(data.train, 32, mean=mean, std=std)
    val = md.Loader(data.val, 32, mean=mean, std=std, shuffle=False, drop_last=False)

    model = build_resnet(ROWS, len(data.classes), 0.0, np.random.default_rng(0), np.float32)
    print(md.summary(model, (32, *data.image_shape), depth=1))
    model, steps = md.fuse(model, threads), epochs * len(batches)
    optimizer = md.Adam(model.named_parameters(), lr=3e-3)
    for epoch in range(epochs):
        for x, labels in batches.epoch(epoch):
            logits, cache = model.forward(x, md.TRAIN.at_step(optimizer.steps))
            loss, dlogits = md.softmax_cross_entropy(logits, labels)
            model.zero_grad()
            model.backward(dlogits, cache, need_dx=False)
            optimizer.step(optimizer.lr * (1 - optimizer.steps / steps))
        accuracy = md.evaluate(model, val).top1
        print(f"epoch {epoch + 1}: loss {loss:.2f}, {100 * accuracy:.1f} % of {len(data.val)} images it has not seen")
    return accuracy


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
