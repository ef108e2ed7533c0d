# SPDX-License-Identifier: BSD-2-Clause
"""What outlives a daemon that is killed: descriptors, and what belongs to what.

store      the process that holds them: a program of its own
link       how the daemon speaks to it, or to systemd, which has the same protocol
document   a few kilobytes that are whole whenever their writer is killed
entries    descriptors that belong together, with their document
"""
