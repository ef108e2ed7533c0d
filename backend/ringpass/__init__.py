# SPDX-License-Identifier: BSD-2-Clause
"""Fast network ports for virtual machines: netmap-style rings over vhost-user and passthrough."""

__version__ = "0.1.0"
