"""The first block of a network: convolution, BN, ReLU and a 4x4 max pool in one geometry."""
