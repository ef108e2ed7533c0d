# SPDX-License-Identifier: BSD-2-Clause
"""The command `ringpass`: a module here for each of its commands, found by its name.

A module's `app` is a Typer application. `main` imports only the one that was asked for.
"""
