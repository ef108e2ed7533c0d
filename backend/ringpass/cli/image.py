# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass image`: the images that guests boot from."""

from typing import Annotated

import typer

from ringpass import image as images
from ringpass.cli import output

app = typer.Typer(add_completion=False, help="Build guest images.", no_args_is_help=True)


@app.command()
def build(
    name: Annotated[str, typer.Argument(help="The recipe, images/NAME.toml.")] = "guest",
    json: output.Json = False,
) -> None:
    """Build an image, unless the cache has it already, and print where it is."""
    image = images.ensure(name, progress=progress())
    if json:
        output.print_json(
            {
                "name": image.name,
                "key": image.key,
                "kernel": str(image.kernel),
                "initrd": str(image.initrd),
                "uml": str(image.uml),
                "manifest": str(image.manifest),
            }
        )
    else:
        output.print_fields(
            [
                ("image", image.name),
                ("key", image.key),
                ("kernel", image.kernel),
                ("initrd", image.initrd),
                ("uml", image.uml),
                ("manifest", image.manifest),
            ]
        )


@app.command()
def module(
    name: Annotated[str, typer.Argument(help="The recipe, images/NAME.toml.")] = "guest",
    json: output.Json = False,
) -> None:
    """Build the guest's driver for the kernel of an image, and print where it is."""
    built = images.module(name, progress=progress())
    if json:
        output.print_json({"module": str(built)})
    else:
        output.print_fields([("module", built)])


@app.command()
def prune(json: output.Json = False) -> None:
    """Remove images that newer ones have replaced, and packages that only they were made of."""
    removed = images.prune()
    if json:
        output.print_json([str(path) for path in removed])
    else:
        output.say(f"removed {len(removed)} images and packages")


def progress() -> images.Progress:
    """Return a function that tells the user how a build goes, and says nothing if there is none."""
    told = ""

    def tell(text: str, fraction: float) -> None:
        nonlocal told
        # Looking up packages is not news: most of the time it finds the image in the cache.
        if 0 < fraction < 1 and text != told:
            output.say(f"image: {fraction:4.0%} {text}")
            told = text

    return tell
