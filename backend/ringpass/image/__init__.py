# SPDX-License-Identifier: BSD-2-Clause
"""Guest images: made from Debian packages, cached by content, booted by QEMU and UML alike."""

from ringpass.image.build import Image, Progress, ensure, module, newest, prune

__all__ = ["Image", "Progress", "ensure", "module", "newest", "prune"]
