"""Arrays into onnxruntime and back, for the element types that have no numpy form: bfloat16, float8, 4-bit integers."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from graphtool.parity.eps import is_extension
from graphtool.parity.runerror import RunError

Array = NDArray[Any]


def is_foreign(type_text: str) -> bool:
    """Whether onnxruntime's Python returns such a tensor (``tensor(bfloat16)``) not at all, or as bare integers."""
    return re.match(r"tensor\((bfloat16|float8|float4|u?int[24]\))", type_text) is not None


def to_ort(array: Any) -> Any:
    """Return an OrtValue over the array's memory; the array must outlive it.

    Raises RunError for 4-bit types, and for a list (a sequence) and None (an absent optional).
    """
    if not isinstance(array, np.ndarray):
        what = "an absent optional" if array is None else "a sequence"
        raise RunError(f"onnxruntime's Python makes no value of its own of {what}", "op")
    if not is_extension(array.dtype):
        # strings are copied and may come in any of numpy's string types
        return ort.OrtValue.ortvalue_from_numpy(array.astype(object) if array.dtype.kind in "US" else array)
    code = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    if re.match(r"u?int[24]|float[46]", array.dtype.name):  # several numbers a byte
        raise RunError(f"onnxruntime's Python takes no input of type {array.dtype.name}", "op")
    bare = np.require(array, requirements="C").view(f"u{array.dtype.itemsize}")
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bare, code)


def from_ort(value: Any) -> Any:
    """Return what an OrtValue holds as a numpy array, of ml_dtypes' type where numpy has none."""
    if not value.is_tensor() or not is_foreign(value.data_type()):
        return value.numpy()
    raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    # onnx knows how each type is packed
    return numpy_helper.to_array(TensorProto(data_type=value.element_type(), dims=value.shape(), raw_data=raw))
