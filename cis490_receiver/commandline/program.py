"""Commands and groups of commands whose failures are told as `failures` does."""

from __future__ import annotations

from typing import Any, Final

import click

from cis490_receiver.commandline.failures import reported, wants_json

#: Where a context keeps whether ``--json`` was given.
AS_JSON: Final = "cis490_receiver.as_json"


class Reporting(click.Command):
    """A command that ends in a sentence, an exit status and, with ``--json``, an object, whatever happens."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """See `click.Command.make_context`."""
        as_json = wants_json(args)
        with reported(_program(info_name, parent), as_json=as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[AS_JSON] = as_json
        return context

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Command.invoke`."""
        with reported(_program(ctx.info_name, ctx.parent), as_json=ctx.meta[AS_JSON]):
            return super().invoke(ctx)


class ReportingGroup(Reporting, click.Group):
    """A group whose commands end as `Reporting` does."""


def _program(info_name: str | None, parent: click.Context | None) -> str:
    return (parent.find_root().info_name if parent else info_name) or ""
