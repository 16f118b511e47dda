"""Imports the Triton kernels: interpreted on CPU tensors, or compiled if there is a CUDA device.

Triton reads TRITON_INTERPRET when it and the kernels are imported, so it is set around exactly these imports and
child processes of other tests never see it. Gluon would otherwise be imported at the first launch, uninterpreted.
"""

import os
from typing import Any

import torch

INTERPRETED = not torch.cuda.is_available()
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")

if INTERPRETED:
    os.environ["TRITON_INTERPRET"] = "1"
try:
    from triton.experimental import gluon
    from triton.runtime import interpreter

    from kernels.nv12_scale import gpu as nv12_scale_gpu
    from kernels.rgb_to_nv12 import gpu as rgb_to_nv12_gpu
    from kernels.tone import gpu as tone_gpu
finally:
    if INTERPRETED:
        del os.environ["TRITON_INTERPRET"]

__all__ = ["DEVICE", "INTERPRETED", "gluon", "nv12_scale_gpu", "rgb_to_nv12_gpu", "tone_gpu"]

_patch_tensor = interpreter._patch_lang_tensor


def _patch_tensor_for_numpy_2_4(tensor: Any, scope: Any) -> None:
    """Loop bounds are arrays of one element, which int() refuses since NumPy 2.4; later versions of Triton squeeze them."""
    _patch_tensor(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.squeeze()))


interpreter._patch_lang_tensor = _patch_tensor_for_numpy_2_4
