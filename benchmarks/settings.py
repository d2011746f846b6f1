"""What all contenders share."""

DROPOUT = 0.4
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 3.16e-5  # the paper's
CLASSES = 200
SIDE = 64
BATCHES = 4  # different ones, taken in turn, so that no loss runs down to nothing
