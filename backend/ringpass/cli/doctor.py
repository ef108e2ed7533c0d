# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass doctor`: what this machine lacks."""

import typer
from rich.text import Text

from ringpass import doctor
from ringpass.cli import output
from ringpass.doctor import Finding

app = typer.Typer(add_completion=False)

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@app.command()
def examine(json: output.Json = False) -> None:
    """Check what guests need, with a fix for each finding. Exit code 1 if something fails."""
    findings = list(doctor.examine(output.say))
    if json:
        output.print_json(findings)
    else:
        output.print_table(("CHECK", "STATUS", "FINDING"), map(row, findings))
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(1)


def row(finding: Finding) -> tuple[object, ...]:
    """Return a finding for people: why and fix only where there is something to do."""
    text = Text(finding.what)
    if finding.status != "ok":
        text.append(f"\nwhy: {finding.why}", style="dim")
        text.append(f"\nfix: {finding.fix}")
    return finding.check, Text(finding.status, style=STYLES[finding.status]), text
