# SPDX-License-Identifier: BSD-2-Clause
"""What tests with real guests share: the image, and directories that leave nothing behind."""

import pytest

from ringpass import image as images


@pytest.fixture(scope="session")
def image() -> images.Image:
    """Return the guest image of the tree, built now if the cache does not have it."""
    return images.ensure("guest")
