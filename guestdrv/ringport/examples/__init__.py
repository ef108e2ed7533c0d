# SPDX-License-Identifier: BSD-2-Clause
"""Small programs that are of use as they are: `python -m ringport.examples.counter vale0:a`."""
