# SPDX-License-Identifier: BSD-2-Clause
"""Requests about loops and CSBs: checked here, done by the program's side of the device.

A loop runs in the thread that starts it, and arrays of a CSB may be anywhere in its memory.
"""

import errno

from ringpass.netmap import abi
from ringpass.netmap.abi import Flag, KloopMode, KloopStart, OptionType
from ringpass.netmap.call import Call
from ringpass.netmap.rings import Selection

CSB_ALIGN = 64
MAX_SLEEP_US = 1_000_000


def start(call: Call, request: KloopStart) -> KloopStart:
    """Check a START; the loop runs in the program's own thread."""
    rings = call.registered().selection.rings
    if request.sleep_us > MAX_SLEEP_US:
        call.fail(
            errno.EINVAL, f"it would sleep for {request.sleep_us} us", "at most 1 s is allowed"
        )
    mode = call.options.take(OptionType.SYNC_KLOOP_MODE, KloopMode)
    if mode is not None and mode.mode & ~(KloopMode.DIRECT_TX | KloopMode.DIRECT_RX):
        call.options.refuse(OptionType.SYNC_KLOOP_MODE, errno.EINVAL)
        call.fail(errno.EINVAL, f"there is no loop mode {mode.mode:#x}", "see netmap(4)")
    events = call.options.get(OptionType.SYNC_KLOOP_EVENTFDS)
    if events is not None:
        events.status = 0
        if len(events.body) != 8 * rings:
            events.status = errno.EINVAL
            why = f"eventfds for {len(events.body) / 8:g} rings, {rings} are registered"
            call.fail(errno.EINVAL, why, "give two for each ring")
    elif mode is not None and mode.mode:
        call.options.refuse(OptionType.SYNC_KLOOP_MODE, errno.EINVAL)
        call.fail(errno.EINVAL, "the direct modes need eventfds", "add that option")
    return request


def stop(call: Call, _: None) -> None:
    """Check a STOP."""
    call.registered()


def enable_csb(call: Call, _: None) -> None:
    """Check what gives a registration its CSB."""
    registration = call.registered()
    if call.options.get(OptionType.CSB) is None:
        call.fail(errno.EINVAL, "the option CSB is missing", "add it")
    check_csb(call, registration.flags, registration.selection)


def check_csb(call: Call, flags: int, where: Selection) -> None:
    """Check the option CSB, if it is there. Raises RingpassError."""
    option = call.options.take(OptionType.CSB, abi.Csb)
    if option is None:
        return
    problem = ""
    if where.rings and not flags & Flag.EXCLUSIVE:
        problem = "the rings are not registered for this program alone; add the flag x"
    elif (option.atok | option.ktoa) % CSB_ALIGN or not (option.atok and option.ktoa):
        problem = f"the arrays do not begin at multiples of {CSB_ALIGN}"
    if problem:
        call.options.refuse(OptionType.CSB, errno.EINVAL)
        call.fail(errno.EINVAL, f"no CSB mode: {problem}")
