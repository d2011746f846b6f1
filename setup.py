"""Packaging of minidl: `pip install -e .`, extras search, tensorboard, onnx, test, browser, mpi, parity, benchmarks,
cuda12, cuda13, cuda-check (CuPy and NVIDIA's compiler as far as they go without a GPU)."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "minidl" / "version.py").read_text("utf-8")).group(1)

setup(
    name="minidl",
    version=VERSION,
    description="A deep-learning framework in NumPy and CuPy whose every backward pass can be read",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=[*find_packages(include=["minidl", "minidl.*"]), "minidl.models"],
    package_dir={"minidl.models": "models"},  # one import name: a user may have a models.py of their own
    package_data={
        "minidl": ["py.typed"],
        "minidl.atlas": ["page/*"],
        "minidl.explain": ["page/*"],
        "minidl.kernels": ["cuda/*.cu", "cuda/*.cuh"],
        "minidl.models": ["weights/*"],
    },
    entry_points={"console_scripts": ["minidl = minidl.__main__:main"]},
    install_requires=[
        # The oldest that were tried, together
        "numpy>=2",
        "scipy>=1.13",
        "pillow>=10.3",
        "scikit-learn>=1.5",
        "matplotlib>=3.9",
        "safetensors>=0.4.3",
        "threadpoolctl>=3.1",
        "tqdm>=4.42",
    ],
    extras_require={
        "search": ["optuna>=5"],
        "tensorboard": ["tensorboard>=2.18"],  # the first that works with NumPy 2
        "test": ["pytest", "pytest-xdist", "hypothesis", "ruff", "optuna>=5"],
        "browser": ["playwright>=1.50", "oxlint"],  # drives a browser that is installed; downloads none
        "mpi": ["mpi4py>=4.1"],  # it uses the MPI of the machine, or that of `pip install mpich`
        "onnx": ["onnx>=1.16"],
        "parity": ["torch==2.13.0", "captum", "jax", "onnx", "onnxruntime", "pyyaml", "tensorboard>=2.18"],
        "benchmarks": ["torch==2.13.0", "captum", "jax", "onnx", "onnxscript", "onnxruntime", "openvino"],
        "cuda-check": [
            "cupy-cuda13x",
            "nvidia-cuda-nvrtc==13.*",
            "nvidia-cuda-nvrtc-cu12==12.9.*",
            "nvidia-nccl-cu13",
        ],
        "cuda12": ["cupy-cuda12x"],
        "cuda13": ["cupy-cuda13x"],
    },
)
