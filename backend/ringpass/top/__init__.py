# SPDX-License-Identifier: BSD-2-Clause
"""What `ringpass top` shows of a daemon, and the keys that it obeys; it reads counters alone."""
