# SPDX-License-Identifier: BSD-2-Clause
"""The daemon: one asyncio loop that serves the control socket and the front ends of the ports.

backend      the switches, workers and ports that run, and the actions that change them
methods      what the control socket can be asked
control      the control socket
lifecycle    start, signals, clean end
"""
