"""What a file is that people take for one of torch.save, by its first bytes."""

from __future__ import annotations

import re

_TAR = 257  # where a tar has its mark
_KINDS = (
    (rb"\s*<(!doctype|html|\?xml)", "a web page, not weights: open the link in a browser, and see what it says"),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the weights: fetch them with `git lfs pull`"),
    (rb"\x89HDF", "an HDF5 file, as of Keras: its names aren't torch's"),
    (rb"(\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd)", "a compressed file: unpack it first"),
    (
        rb"\x08[\x03-\x20][\x12\x1a\x22\x3a]",
        "an ONNX model, whose names needn't be torch's: import the .pth it was made of",
    ),
    (rb"GGUF", "a GGUF file, not one of torch.save"),
    (rb"\x93NUMPY", "an array of NumPy, not a file of torch.save"),
    (rb"PK", "a zip file that is cut short, damaged or empty: get it again"),
    (rb"\x80", "a pickle of a version that torch.save doesn't write"),
)


def what_it_is(head: bytes) -> str:
    """What the file that begins with `head` is, and what to do about it."""
    if not head:
        return "the file is empty: get it again"
    if head[_TAR : _TAR + 5] == b"ustar":
        return "a tar file (an archive, or of torch before 0.2): unpack it, or save it again with a newer torch"
    for pattern, what in _KINDS:
        if re.match(pattern, head, re.IGNORECASE):
            return what
    return "neither a file of torch.save nor safetensors"
