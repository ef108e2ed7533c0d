# SPDX-License-Identifier: BSD-2-Clause
"""What can be seen of a running daemon: its counters in shared memory, and its status in words."""
