# SPDX-License-Identifier: BSD-2-Clause
"""netmap's layout of memory and its requests, API versions 14 and 15, as numbers.

The text that these agree with is `csrc/abi/rp_abi.h` and netmap(4); a test compares them with what
the compiler says. All integers are little-endian.
"""

import struct

API = 14

#: Slot: buf_idx, len, flags, ptr.
SLOT = struct.Struct("<IHHQ")

NS_BUF_CHANGED = 0x0001
NS_REPORT = 0x0002
NS_FORWARD = 0x0004
NS_NO_LEARN = 0x0008
NS_INDIRECT = 0x0010
NS_MOREFRAG = 0x0020
NS_TXMON = 0x0040
MAX_FRAGS = 64

NR_TIMESTAMP = 0x2
NR_FORWARD = 0x4

#: The fixed part of a ring: buf_ofs, num_slots, nr_buf_size, ringid, dir.
RING = struct.Struct("<qIIHH")
RING_CURSORS = 20
"""Where head, cur, tail and flags are: four 32-bit integers."""
RING_TIME = struct.Struct("<qq")
RING_TIME_AT = 40
RING_OFFSET_MASK_AT = 56
RING_LOST_AT = 128  # ringpass's, in the room that netmap leaves to its kernel
RING_SLOTS_AT = 256
DIR_RX = 0
DIR_TX = 1

#: netmap_if: ni_name, ni_version, ni_flags, tx, rx, bufs_head, host tx, host rx; ring_ofs follow.
INTERFACE = struct.Struct("<16sIIIIIII")
BUFS_HEAD_AT = 32
RING_OFS_AT = 56

#: The index that means "no buffer", and one more, are never handed out.
BUFS_RESERVED = 2

NIOCCTRL = 0xC0586997
NIOCTXSYNC = 0x6994
NIOCRXSYNC = 0x6995

#: nmreq_header: version, request, reserved, name, options, body (the last two are addresses).
HEADER = struct.Struct("<HHI64sQQ")
REQ_REGISTER = 1
REQ_PORT_INFO_GET = 2

#: nmreq_register: offset, memsize, tx and rx slots, tx and rx rings, host tx and rx rings, mem_id,
#: ringid, mode, extra_bufs, padding, flags.
REGISTER = struct.Struct("<QQIIHHHHHHIIIQ")

#: nmreq_port_info_get: memsize, tx and rx slots, tx and rx rings, host tx and rx rings, mem_id.
PORT_INFO = struct.Struct("<QIIHHHHH6x")

#: nmreq_option: next (an address), type, status, size.
OPTION = struct.Struct("<QIIQ")
OPT_OFFSETS = 5
#: The body of OFFSETS: max_offset, initial_offset, bits, tx_align, min_gap.
OFFSETS = struct.Struct("<QQIIQ")
