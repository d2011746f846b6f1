"""A residual network on the embedded data set: built, trained, measured.

    python examples/resnet.py [EPOCHS]

Source: He et al., Deep residual learning for image recognition, 2015.
"""

import sys

import numpy as np

import minidl as md


def conv_bn(channels: int, filters: int, kernel: int, stride: int, rng: np.random.Generator) -> dict[str, md.Layer]:
    conv = md.Conv2D(channels, filters, kernel, stride, padding=kernel // 2, bias=False, rng=rng)
    return {"conv": conv, "bn": md.BatchNorm2D(filters)}


def block(channels: int, filters: int, stride: int, rng: np.random.Generator) -> md.Layer:
    """Two 3x3 convolutions with a way around them; a 1x1 convolution on that way where the shape changes."""
    first = md.Sequential({**conv_bn(channels, filters, 3, stride, rng), "relu": md.ReLU()})
    second = md.Sequential(conv_bn(filters, filters, 3, 1, rng))
    same = stride == 1 and channels == filters
    shortcut = None if same else md.Sequential(conv_bn(channels, filters, 1, stride, rng))
    return md.Sequential({"sum": md.Residual(md.Sequential(first, second), shortcut), "relu": md.ReLU()})


def build(classes: int, widths: tuple[int, ...] = (16, 32, 64), seed: int = 0) -> md.Sequential:
    """A stem, which halves the image, and two blocks for each width; the first of them halves the map."""
    rng, channels = np.random.default_rng(seed), widths[0]
    layers = {"stem": md.Sequential({**conv_bn(3, channels, 3, 2, rng), "relu": md.ReLU()})}
    for stage, filters in enumerate(widths, start=1):
        layers[f"block{stage}a"] = block(channels, filters, 2, rng)
        layers[f"block{stage}b"] = block(filters, filters, 1, rng)
        channels = filters
    return md.Sequential({**layers, "avgpool": md.GlobalAvgPool(), "fc": md.Linear(channels, classes, rng=rng)})


def main(epochs: int = 6, images: int = 4000, threads: int = 0) -> float:
    """Trains on `images` images, prints and returns the accuracy on images it has not seen."""
    data = md.load_shapes(train=images, val=max(images // 4, 20))
    mean, std = md.channel_statistics(data.train)
    batches = md.Loader(data.train, 32, mean=mean, std=std)
    val = md.Loader(data.val, 32, mean=mean, std=std, shuffle=False, drop_last=False)

    model = build(len(data.classes))
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
