# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass vm xml`: what a port is in the XML of a libvirt domain."""

import sys
from typing import Annotated

import typer

from ringpass.cli import output, vm_port
from ringpass.libvirt.xml import wanted


def xml(
    port: vm_port.Port,
    domain: Annotated[
        str | None, typer.Option(metavar="NAME", help="Print only what this domain lacks.")
    ] = None,
    via: vm_port.Way = None,
    device: vm_port.Device = None,
    connect: vm_port.Connect = None,
    json: output.Json = False,
) -> None:
    """Print the XML by which a libvirt domain gets a port, and what else it needs for it."""
    asked = vm_port.ask_port(port, via, device)
    patched = vm_port.patched_qemu() if asked.via == "netdev" else ""
    text = None
    if domain is not None:
        # Only here: the library takes a while to load, and may be absent.
        from ringpass.libvirt import connection as libvirtd
        from ringpass.libvirt import permissions

        opened = libvirtd.connect(vm_port.libvirt_uri(connect))
        text = libvirtd.configuration(libvirtd.lookup(opened, domain))
        with libvirtd.told(f"cannot tell whether {domain} may use {port}", domain):
            vm_port.warn(permissions.check_connection(opened, text, asked, patched))
    answer = wanted(asked, patched=patched, domain_xml=text)
    if json:
        output.print_json(answer)
    else:
        sys.stdout.write(answer.xml)
