# SPDX-License-Identifier: BSD-2-Clause
"""The headers for programs have netmap's binary interface: sizes, offsets, ioctl numbers."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

INCLUDE = Path(__file__).parents[2] / "csrc" / "netmap_shim" / "include"

# Name -> bytes of it, and where its fields are. From a program compiled where netmap is native.
STRUCTS: Mapping[str, tuple[int, str]] = {
    "netmap_slot": (16, "buf_idx 0 len 4 flags 6 ptr 8"),
    "netmap_ring": (
        256,
        (
            "buf_ofs 0 num_slots 8 nr_buf_size 12 ringid 16 dir 18 head 20 cur 24 tail 28 flags 32"
            " ts 40 offset_mask 56 buf_align 64 sem 128 slot 256"
        ),
    ),
    "netmap_if": (
        56,
        (
            "ni_name 0 ni_version 16 ni_flags 20 ni_tx_rings 24 ni_rx_rings 28 ni_bufs_head 32"
            " ni_host_tx_rings 36 ni_host_rx_rings 40 ni_spare1 44 ring_ofs 56"
        ),
    ),
    "nmreq_header": (
        88,
        "nr_version 0 nr_reqtype 2 nr_reserved 4 nr_name 8 nr_options 72 nr_body 80",
    ),
    "nmreq_option": (24, "nro_next 0 nro_reqtype 8 nro_status 12 nro_size 16"),
    "nmreq_register": (
        56,
        (
            "nr_offset 0 nr_memsize 8 nr_tx_slots 16 nr_rx_slots 20 nr_tx_rings 24 nr_rx_rings 26"
            " nr_host_tx_rings 28 nr_host_rx_rings 30 nr_mem_id 32 nr_ringid 34 nr_mode 36"
            " nr_extra_bufs 40 nr_flags 48"
        ),
    ),
    "nmreq_port_info_get": (
        32,
        (
            "nr_memsize 0 nr_tx_slots 8 nr_rx_slots 12 nr_tx_rings 16 nr_rx_rings 18"
            " nr_host_tx_rings 20 nr_host_rx_rings 22 nr_mem_id 24"
        ),
    ),
    "nmreq_vale_attach": (64, "reg 0 port_index 56"),
    "nmreq_vale_detach": (8, "port_index 0"),
    "nmreq_vale_list": (8, "nr_bridge_idx 0 nr_port_idx 4"),
    "nmreq_port_hdr": (8, "nr_hdr_len 0"),
    "nmreq_vale_newif": (
        16,
        "nr_tx_slots 0 nr_rx_slots 4 nr_tx_rings 8 nr_rx_rings 10 nr_mem_id 12",
    ),
    "nmreq_vale_polling": (16, "nr_mode 0 nr_first_cpu_id 4 nr_num_polling_cpus 8"),
    "nmreq_pools_info": (
        64,
        (
            "nr_memsize 0 nr_mem_id 8 nr_if_pool_offset 16 nr_if_pool_objtotal 24"
            " nr_if_pool_objsize 28 nr_ring_pool_offset 32 nr_ring_pool_objtotal 40"
            " nr_ring_pool_objsize 44 nr_buf_pool_offset 48 nr_buf_pool_objtotal 56"
            " nr_buf_pool_objsize 60"
        ),
    ),
    "nmreq_sync_kloop_start": (8, "sleep_us 0"),
    "nmreq_opt_extmem": (96, "nro_opt 0 nro_usrptr 24 nro_info 32"),
    "nmreq_opt_sync_kloop_eventfds": (24, "nro_opt 0 eventfds 24"),
    "nmreq_opt_csb": (40, "nro_opt 0 csb_atok 24 csb_ktoa 32"),
    "nmreq_opt_sync_kloop_mode": (32, "nro_opt 0 mode 24"),
    "nmreq_opt_offsets": (
        56,
        "nro_max_offset 24 nro_initial_offset 32 nro_offset_bits 40 nro_tx_align 44 nro_min_gap 48",
    ),
    "nm_csb_atok": (64, "head 0 cur 4 appl_need_kick 8 sync_flags 12"),
    "nm_csb_ktoa": (64, "hwcur 0 hwtail 4 kern_need_kick 8"),
    "nmreq": (
        60,
        (
            "nr_name 0 nr_version 16 nr_offset 20 nr_memsize 24 nr_tx_slots 28 nr_rx_slots 32"
            " nr_tx_rings 36 nr_rx_rings 38 nr_ringid 40 nr_cmd 42 nr_arg1 44 nr_arg2 46 nr_arg3 48"
            " nr_flags 52 spare2 56"
        ),
    ),
    "nm_ifreq": (272, "nifr_name 0 data 16"),
}

CONSTANTS: Mapping[str, int] = {
    "NIOCCTRL": 0xC0586997,
    "NIOCTXSYNC": 0x6994,
    "NIOCRXSYNC": 0x6995,
    "NIOCGINFO": 0xC03C6991,
    "NIOCREGIF": 0xC03C6992,
    "NIOCCONFIG": 0xC1106996,
    "NETMAP_API": 14,
    "NETMAP_MIN_API": 14,
    "NETMAP_MAX_API": 15,
    "NETMAP_MAX_FRAGS": 64,
    "NETMAP_REQ_IFNAMSIZ": 64,
    "NS_BUF_CHANGED": 0x1,
    "NS_REPORT": 0x2,
    "NS_FORWARD": 0x4,
    "NS_NO_LEARN": 0x8,
    "NS_INDIRECT": 0x10,
    "NS_MOREFRAG": 0x20,
    "NS_TXMON": 0x40,
    "NR_TIMESTAMP": 0x2,
    "NR_FORWARD": 0x4,
    "NETMAP_REQ_REGISTER": 1,
    "NETMAP_REQ_VALE_LIST": 5,
    "NETMAP_REQ_VALE_POLLING_DISABLE": 11,
    "NETMAP_REQ_POOLS_INFO_GET": 12,
    "NETMAP_REQ_CSB_ENABLE": 15,
    "NETMAP_REQ_OPT_EXTMEM": 1,
    "NETMAP_REQ_OPT_OFFSETS": 5,
    "NETMAP_REQ_OPT_MAX": 6,
    "NR_REG_ALL_NIC": 1,
    "NR_REG_PIPE_SLAVE": 6,
    "NR_REG_ONE_SW": 8,
    "NR_MONITOR_TX": 0x100,
    "NR_MONITOR_RX": 0x200,
    "NR_ZCOPY_MON": 0x400,
    "NR_EXCLUSIVE": 0x800,
    "NR_RX_RINGS_ONLY": 0x2000,
    "NR_TX_RINGS_ONLY": 0x4000,
    "NR_ACCEPT_VNET_HDR": 0x8000,
    "NR_DO_RX_POLL": 0x10000,
    "NR_NO_TX_POLL": 0x20000,
    "NETMAP_RING_MASK": 0x0FFF,
    "NETMAP_NO_TX_POLL": 0x1000,
    "NETMAP_SW_RING": 0x2000,
    "NETMAP_HW_RING": 0x4000,
    "NETMAP_DO_RX_POLL": 0x8000,
    "NETMAP_BDG_ATTACH": 1,
    "NETMAP_BDG_VNET_HDR": 5,
    "NETMAP_BDG_POLLING_OFF": 11,
    "NETMAP_VNET_HDR_GET": 12,
}


def _program() -> str:
    """Return a program that prints what the headers say, as JSON."""
    lines = [
        '#include "net/netmap.h"',
        "#include <stddef.h>",
        "#include <stdio.h>",
        "int main(void) {",
        r'printf("{\"\": 0");',
    ]
    for name, (_, fields) in STRUCTS.items():
        lines.append(rf'printf(", \"{name}\": %zu", sizeof(struct {name}));')
        lines += [
            rf'printf(", \"{name}.{field}\": %zu", offsetof(struct {name}, {field}));'
            for field in fields.split()[::2]
        ]
    lines += [
        rf'printf(", \"{name}\": %llu", (unsigned long long)(unsigned)({name}));'
        for name in CONSTANTS
    ]
    return "\n".join([*lines, 'puts("}");', "return 0;", "}", ""])


def test_the_binary_interface_is_netmaps(tmp_path: Path) -> None:
    source = tmp_path / "print.c"
    source.write_text(_program())
    program = tmp_path / "print"
    subprocess.run(["cc", "-I", INCLUDE, source, "-o", program], check=True)
    said = json.loads(subprocess.run([program], check=True, capture_output=True).stdout)
    expected: dict[str, int] = {"": 0, **CONSTANTS}
    for name, (size, text) in STRUCTS.items():
        words = text.split()
        expected[name] = size
        fields = zip(words[::2], words[1::2], strict=True)
        expected |= {f"{name}.{field}": int(offset) for field, offset in fields}
    assert said == expected


@pytest.mark.parametrize(
    "compiler", [["cc", "-std=c99", "-Wall", "-Wextra"], ["c++", "-xc++", "-Wall", "-Wextra"]]
)
def test_programs_compile_without_a_warning(compiler: list[str], tmp_path: Path) -> None:
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"there is no {compiler[0]}")
    source = tmp_path / "program.c"
    source.write_text("#define NETMAP_WITH_LIBS\n#include <net/netmap_user.h>\n")
    command = [*compiler, "-Werror", "-I", str(INCLUDE), "-D_GNU_SOURCE", "-c", str(source)]
    done = subprocess.run([*command, "-o", str(tmp_path / "o")], capture_output=True, text=True)
    assert done.stderr == ""
