# SPDX-License-Identifier: BSD-2-Clause
"""The compiled csrc/client, made by csrc/cffi_build.py; `ringport.transport.daemon` uses it."""

from typing import Any

from cffi import FFI

ffi: FFI
lib: Any
