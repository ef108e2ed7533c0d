# SPDX-License-Identifier: BSD-2-Clause
"""The programs in a guest that send floods and count them, as shell commands."""

from typing import NamedTuple

SINK_FILE = "/tmp/sink.json"  # noqa: S108  in the guest
#: Seconds after the last frame at which a flood is taken to be over.
IDLE_S = 0.3


class Tool(NamedTuple):
    """Sends with one program, counts with another.

    `send` prints a line with `frames` and `pps`; {nic}, {mac}, {size}, {seconds} stand for what is
    sent. `receive` returns when it counts on {nic}, and writes SINK_FILE when the flood is over.
    """

    name: str
    send: str
    receive: str


PACKET = Tool(
    "a mapped AF_PACKET ring",
    "rp-flood --size {size} --seconds {seconds:g} --dst {mac} {nic}",
    f"rp-sink --background {SINK_FILE} --idle {IDLE_S} {{nic}}",
)

_PKTGEN = """\
modprobe pktgen && cd /proc/net/pktgen &&
echo rem_device_all >kpktgend_0 && echo add_device {nic} >kpktgend_0 &&
for option in 'count 0' 'delay 0' 'pkt_size {size}' 'dst_mac {mac}'; do
	echo $option >{nic}
done &&
{{ timeout {seconds:g} sh -c 'echo start >pgctrl'; cd /root; }} 2>/dev/null
sed -n -e 's/.*pkts-sofar: \\([0-9]*\\).*/{{"frames":\\1,/p' \
	-e 's/^ *\\([0-9]*\\)pps.*/"pps":\\1}}/p' /proc/net/pktgen/{nic}"""

PKTGEN = Tool(
    "kernel pktgen",
    _PKTGEN,
    f"rp-sink --any --background {SINK_FILE} --idle {IDLE_S} {{nic}}",
)

_NETMAP = "rp-nmflood"
NETMAP = Tool(
    "a C netmap program",
    f"{_NETMAP} --size {{size}} --seconds {{seconds:g}} --dst {{mac}} netmap:{{nic}}",
    f"{_NETMAP} --background {SINK_FILE} --idle {IDLE_S} --receive netmap:{{nic}}",
)

_PYTHON = "python3 -m ringport.examples.flood"
NUMPY = Tool(
    "ringport and numpy",
    f"{_PYTHON} --size {{size}} --seconds {{seconds:g}} --dst {{mac}} netmap:{{nic}}",
    f"{_PYTHON} --background {SINK_FILE} --idle {IDLE_S} --receive netmap:{{nic}}",
)
