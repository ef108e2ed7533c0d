# SPDX-License-Identifier: BSD-2-Clause
"""The compiled data plane, made by csrc/cffi_build.py; `ringpass.dataplane` gives it types."""

from typing import Any

from cffi import FFI

ffi: FFI
lib: Any
