"""``cis490-receiver doctor-cluster``: whether a database and an object store keep what is promised."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from cis490_receiver import logfmt, page
from cis490_receiver.commandline.options import example, json_option
from cis490_receiver.config import load
from cis490_receiver.errors import ConfigError

if TYPE_CHECKING:
    from cis490_receiver.backends.doctor import Finding

_COLOURS: Final = {"ok": "green", "weaker": "yellow", "unknown": "yellow", "refused": "red"}
_VERDICT_COLUMNS: Final = 9
_NAME_COLUMNS: Final = 25


@click.command("doctor-cluster", epilog=example("cis490-receiver doctor-cluster --json"))
@json_option
def command(as_json: bool) -> None:
    r"""Find out what the database and the object store of receivers on many machines keep of what is promised.

    Tries both with some small rows and objects of its own, and leaves nothing behind; takes some seconds, and a minute
    where something does not answer. Run it with the configuration of a receiver, before the first one is started and
    when something is strange.

    \b
    ok       as it should be
    weaker   the receiver makes up for it, or something else than a promise rests on it
    unknown  could not be found out
    refused  no receiver starts on this, or should

    Exit status 1: something is refused.
    """
    settings = load()
    if not settings.is_cluster:
        raise ConfigError(
            "database_url and objects_url are not set, so everything is kept in data_dir; `cis490-receiver verify` and "
            "`health-check` look at that"
        )
    logfmt.configure("critical")
    from cis490_receiver.backends import needs_extra

    with needs_extra():
        from cis490_receiver.backends.doctor.both import findings

    found = []
    for finding in findings(settings):
        found.append(finding)
        if not as_json:
            _print(finding)
    refused = [finding for finding in found if finding.verdict == "refused"]
    if as_json:
        click.echo(json.dumps({"ok": not refused, "findings": [asdict(one) for one in found]}, indent=2))
    else:
        click.echo(f"\n{_summary(found)}")
    raise SystemExit(1 if refused else 0)


def _summary(found: Sequence[Finding]) -> str:
    count = Counter(finding.verdict for finding in found)
    if count["refused"]:
        return f"{count['refused']} of {len(found)} things are not as they must be"
    more = [f"{count['weaker']} could be better"] if count["weaker"] else []
    more += [f"{count['unknown']} could not be found out"] if count["unknown"] else []
    return "; ".join(["a receiver can be started", *more])


def _print(finding: Finding) -> None:
    verdict = click.style(finding.verdict.ljust(_VERDICT_COLUMNS), fg=_COLOURS[finding.verdict])
    page.say(finding.says, label=verdict + finding.name.ljust(_NAME_COLUMNS))
    if finding.remedy and finding.verdict != "ok":
        page.say(finding.remedy, label=" " * (_VERDICT_COLUMNS + _NAME_COLUMNS - 2) + "→ ")
