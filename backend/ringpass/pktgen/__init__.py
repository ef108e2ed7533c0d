# SPDX-License-Identifier: BSD-2-Clause
"""Generate traffic on a port and take it, count it and check it, with numpy batches."""
