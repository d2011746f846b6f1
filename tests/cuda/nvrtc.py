"""CUDA's run-time compiler NVRTC through its C API: it needs neither CuPy nor a GPU, only NVIDIA's wheel.

`pip install nvidia-cuda-nvrtc nvidia-cuda-nvrtc-cu12` brings versions 13 (sm_75 and up) and 12 (sm_50 and up).
"""

from __future__ import annotations

import ctypes
import re
from importlib.metadata import PackageNotFoundError, files

WHEELS = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")


class Nvrtc:
    """One version of the compiler."""

    def __init__(self, path: str) -> None:
        self.library = ctypes.CDLL(path)
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor, count = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        architectures = (ctypes.c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", architectures)
        self.version, self.architectures = f"{major.value}.{minor.value}", list(architectures)

    def _call(self, function: str, *arguments: object) -> None:
        status = self.library[function](*arguments)
        if status:
            raise RuntimeError(f"{function}: {self.library.nvrtcGetErrorString(status).decode()}")

    def compile(self, code: str, architecture: int, *options: str) -> bytes:
        """The machine code (cubin) for sm_`architecture`; RuntimeError with the compiler's log if it refuses."""
        flags = [f"-arch=sm_{architecture}", *options]
        flags = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        program = ctypes.c_void_p()
        self._call("nvrtcCreateProgram", ctypes.byref(program), code.encode(), b"minidl.cu", 0, None, None)
        try:
            self._call("nvrtcCompileProgram", program, len(flags), flags)
            return self._text(program, "CUBIN")
        except RuntimeError as error:
            log = self._text(program, "ProgramLog").rstrip(b"\0").decode()
            raise RuntimeError(f"NVRTC {self.version}, sm_{architecture}: {error}\n{log}") from None
        finally:
            self._call("nvrtcDestroyProgram", ctypes.byref(program))

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, text)
        return text.raw


def installed() -> list[Nvrtc]:
    """Every version whose wheel is installed."""
    found = []
    for wheel in WHEELS:
        try:
            names = files(wheel) or []
        except PackageNotFoundError:
            continue
        found += [Nvrtc(str(f.locate())) for f in names if re.fullmatch(r"libnvrtc\.so\.\d+", f.name)]
    return found
