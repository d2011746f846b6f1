"""Programs for a model card: from a photo to the five likeliest classes, in each format."""

from __future__ import annotations

import json
from collections.abc import Mapping

from minidl.exchange.facts import Facts

FORMATS = {"safetensors": "minidl", "torch": "pytorch", "onnx": "onnx"}  # and the library that each is for

# Networks whose names and shapes are torchvision's
TORCHVISION: Mapping[str, str] = {
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnext50": "resnext50_32x4d",
    "vgg11": "vgg11",
    "vgg11-bn": "vgg11_bn",
    "vgg16": "vgg16",
    "vgg16-bn": "vgg16_bn",
    "googlenet": "googlenet",
}


def snippet(facts: Facts, kind: str, file: str, pixels: bool = False) -> list[str]:
    """The lines of a Python program that uses the file called `file`, of the format `kind`."""
    quoted = json.dumps(file, ensure_ascii=False)
    if kind == "safetensors":
        return _minidl(quoted)
    return _onnx(facts, quoted, pixels) if kind == "onnx" else _torch(facts, quoted, file.endswith(".safetensors"))


def _read(size: str) -> list[str]:
    """From a file to `image`: the central square, resized to `size`, (width, height) as it stands in a program."""
    return [
        'photo = Image.open("photo.jpg")',
        f'image = ImageOps.fit(ImageOps.exif_transpose(photo).convert("RGB"), {size}, Image.Resampling.BILINEAR)',
    ]


def _normalised(facts: Facts) -> list[str]:
    """From `image` to x (1, 3, H, W)."""
    about = facts.checkpoint.about
    return [
        f"mean = np.array({about.mean})",
        f"std = np.array({about.std})",
        "x = ((np.asarray(image) / 255 - mean) / std).astype(np.float32)",
        "x = x.transpose(2, 0, 1)[None]  # (H, W, 3) -> (1, 3, H, W)",
    ]


def _minidl(file: str) -> list[str]:
    return [
        "import minidl as md",
        "import numpy as np",
        "from PIL import Image, ImageOps",
        "",
        f"checkpoint = md.load_checkpoint({file})",
        "model, about = checkpoint.build(md.models.build), checkpoint.about",
        "size = about.image_shape[:2]",
        *_read("size"),
        "x = md.normalise(np.asarray(image)[None], about.mean, about.std)  # (1, H, W, 3)",
        "probabilities = md.softmax(model(x))[0]",
        "for k in probabilities.argsort()[::-1][:5]:",
        '    print(f"{probabilities[k]:.3f}", about.classes[k], about.words[k])',
    ]


def _onnx(facts: Facts, file: str, pixels: bool) -> list[str]:
    as_pixels = ["x = np.asarray(image, np.float32).transpose(2, 0, 1)[None]  # 0 to 255, (H, W, 3) -> (1, 3, H, W)"]
    return [
        "import json",
        "",
        "import numpy as np",
        "import onnxruntime",
        "from PIL import Image, ImageOps",
        "",
        *_read(f"({facts.size}, {facts.size})"),
        *(as_pixels if pixels else _normalised(facts)),
        f"session = onnxruntime.InferenceSession({file})",
        f'logits = session.run(["logits"], {{"{"pixels" if pixels else "images"}": x}})[0][0]',
        "about = session.get_modelmeta().custom_metadata_map",
        'classes, words = json.loads(about["classes"]), json.loads(about["words"])',
        "probabilities = np.exp(logits - logits.max())",
        "probabilities /= probabilities.sum()",
        "for k in probabilities.argsort()[::-1][:5]:",
        '    print(f"{probabilities[k]:.3f}", classes[k], words[k])',
    ]


def _torch(facts: Facts, file: str, whole: bool) -> list[str]:
    """`whole`: as safetensors."""
    read = f"safetensors.torch.load_file({file})" if whole else f"torch.load({file}, weights_only=True)"
    head = ["import safetensors.torch", "import torch"] if whole else ["import torch"]
    model, classes = facts.checkpoint.about.model, len(facts.checkpoint.about.classes)
    if model not in TORCHVISION or facts.config.get("activation", "relu") not in (None, "relu"):
        return [*head, "", f"state = {read}  # for a module with layers of these names and shapes", "print(*state)"]
    options = f"num_classes={classes}"
    if model == "googlenet":
        options += ", transform_input=False, init_weights=False"
    lines = [f"net = torchvision.models.{TORCHVISION[model]}({options})"]
    if "resne" in model and facts.config.get("stem") != "imagenet":
        lines += [
            "net.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)  # the stem for small images",
            "net.maxpool = torch.nn.Identity()",
        ]
    return [
        *(["import numpy as np"] if not whole else ["import numpy as np", "import safetensors.torch"]),
        "import torch",
        "import torchvision",
        "from PIL import Image, ImageOps",
        "",
        *lines,
        f"net.load_state_dict({read})",
        "net.eval()",
        *_read(f"({facts.size}, {facts.size})"),
        *_normalised(facts),
        "with torch.inference_mode():",
        "    probabilities = net(torch.from_numpy(x)).softmax(1)[0]",
        "print(probabilities.topk(5))",
    ]
