"""The layers. Read `base` first, then `linear` and `conv`. Each file has one idea, with its mathematics in the
docstring.
"""

from minidl.layers.activation import ACTIVATIONS, LeakyReLU, ReLU, SiLU
from minidl.layers.adaptive_pooling import AdaptiveAvgPool2D
from minidl.layers.base import INFER, PROBE, TRAIN, Context, Layer, Mode, Parameter, Rule
from minidl.layers.containers import Concat, Sequential
from minidl.layers.conv import Conv2D
from minidl.layers.dropout import Dropout
from minidl.layers.frozen import Frozen, freeze
from minidl.layers.general_conv import GeneralConv2D
from minidl.layers.general_pooling import GeneralAvgPool2D, GeneralMaxPool2D
from minidl.layers.linear import Flatten, Linear
from minidl.layers.norm import BatchNorm2D
from minidl.layers.pooling import AvgPool2D, GlobalAvgPool, MaxPool2D
from minidl.layers.residual import Residual
from minidl.layers.side_head import SideHead
from minidl.layers.squashing import Sigmoid, Tanh
from minidl.layers.tree import map_leaves

__all__ = [
    "ACTIVATIONS",
    "INFER",
    "PROBE",
    "TRAIN",
    "AdaptiveAvgPool2D",
    "AvgPool2D",
    "BatchNorm2D",
    "Concat",
    "Context",
    "Conv2D",
    "Dropout",
    "Flatten",
    "Frozen",
    "GeneralAvgPool2D",
    "GeneralConv2D",
    "GeneralMaxPool2D",
    "GlobalAvgPool",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2D",
    "Mode",
    "Parameter",
    "ReLU",
    "Residual",
    "Rule",
    "Sequential",
    "SiLU",
    "SideHead",
    "Sigmoid",
    "Tanh",
    "freeze",
    "map_leaves",
]
