"""Train on your own arrays. Here they are the 1,797 handwritten digits that come with scikit-learn.

    python examples/own_data.py

Put your own in the place of `images` and `labels`: images (N, H, W, C), uint8 or floats, and labels 0, 1, 2, ...
"""

import numpy as np
from sklearn.datasets import load_digits

import minidl as md


def build(classes: int) -> md.Sequential:
    """A small network for gray images of 8x8 pixels."""
    return md.Sequential(
        {
            "conv1": md.Conv2D(1, 16, 3, padding=1, rng=0),
            "relu1": md.ReLU(),
            "conv2": md.Conv2D(16, 32, 3, padding=1, rng=1),
            "relu2": md.ReLU(),
            "pool": md.MaxPool2D(2),
            "flatten": md.Flatten(),
            "dropout": md.Dropout(0.3),
            "fc": md.Linear(4 * 4 * 32, classes, rng=2),
        }
    )


def main(epochs: int = 5) -> float:
    """Trains, prints the accuracy on held-out digits after every epoch, and returns the last."""
    digits = load_digits()
    images, labels = digits.images[..., None], digits.target  # (1797, 8, 8, 1) and (1797,)
    order = np.random.default_rng(0).permutation(len(images))
    held_out, train = order[:360], order[360:]
    mean, std = md.channel_statistics((images[train], labels[train]))
    batches = md.Loader((images[train], labels[train]), 32, mean=mean, std=std)
    val = md.Loader((images[held_out], labels[held_out]), 32, mean=mean, std=std, shuffle=False, drop_last=False)

    model = build(classes=10)
    print(md.summary(model, (32, *images.shape[1:])))
    optimizer = md.Adam(model.named_parameters(), lr=3e-3)
    for epoch in range(epochs):
        for x, y in batches.epoch(epoch):
            logits, cache = model.forward(x, md.TRAIN.at_step(optimizer.steps))  # dropout draws anew in every step
            loss, dlogits = md.softmax_cross_entropy(logits, y)
            model.zero_grad()
            model.backward(dlogits, cache, need_dx=False)
            optimizer.step()
        accuracy = md.evaluate(model, val).top1
        print(f"epoch {epoch + 1}: {100 * accuracy:.1f} % of {len(held_out)} digits it has not seen")
    md.save("digits.safetensors", model)
    print("weights: digits.safetensors")
    return accuracy


if __name__ == "__main__":
    main()
