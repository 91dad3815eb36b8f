"""cis490_receiver: the intake that a fleet of lab hosts trusts with its episodes.

Who may import whom, kept by tests/test_imports.py:

==============================================  ===============================================================
module                                          may import, of ours
==============================================  ===============================================================
protocol, errors, logfmt, clock, i_json,        nothing above them
times, page, progress, tally
stamps, models, withdrawal, filters             the above; each the ones before it
archive, files/                                 the above
commandline/                                    errors, page
configuration/                                  commandline, the small ones above; either end's table of keys uses it
config                                          the above
git/                                            errors alone; what both ends ask git
http_client/                                    errors, i_json; the HTTP of both ends that are not the server
policy/                                         the small ones, which are all of the above, but files; of state only
                                                `base`; no flask
postgres/                                       errors, logfmt; needs the extra `cluster`
storage/, index/, state/                        the small ones, postgres; never each other
ingest, resumable, monitor/                     the small ones but files, policy; of storage, index and state only
                                                `base`; resumable also ingest
upkeep/                                         the above, git
serving/                                        config, errors, logfmt; the only code that knows gunicorn's insides
views/                                          policy, ingest, resumable, monitor, the `base`s; of serving direct and
                                                refusals; the only HTTP code
trainer/                                        the small ones, http_client
local_cluster/                                  errors; of storage what signs a request
client/                                         the small ones but config, git, http_client
commands/                                       all but views and client, of storage, index and state only `base`; no
                                                flask at the top of a module
manual                                          nothing; it finds our programs as pip installed them
backends, serving.gunicorn_conf, here           anything: the only places that pick backends
(`create_app`)
==============================================  ===============================================================
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from cis490_receiver.clock import Clock
    from cis490_receiver.config import Settings

__version__ = "0.1.0"


def create_app(settings: Settings | None = None, *, clock: Clock | None = None) -> Flask:
    """Wire one receiver: settings to backends to routes.

    Args:
        settings: the configuration; None reads it from the environment and ends the process with one sentence
            when it cannot be used, and status 2, or 1 where that may pass and the start is to be tried again.
        clock: where the time is read; None is the machine's own.

    Raises:
        ConfigError: `settings` cannot be used.
    """
    from cis490_receiver.config import load
    from cis490_receiver.errors import ConfigError

    if settings is not None:
        return _create_app(settings, clock)
    try:
        return _create_app(load(), clock)
    except ConfigError as exc:
        print(f"cis490-receiver: {exc.message}", file=sys.stderr)
        raise SystemExit(1 if exc.may_pass else 2) from None


def _create_app(settings: Settings, clock: Clock | None) -> Flask:
    from flask import Flask, Response, request

    from cis490_receiver import logfmt
    from cis490_receiver.backends import open_backends
    from cis490_receiver.commands import register
    from cis490_receiver.monitor.arrivals import RecentArrivals
    from cis490_receiver.monitor.watch import Watch
    from cis490_receiver.policy.auth import Authenticator
    from cis490_receiver.policy.gate import VersionGate
    from cis490_receiver.policy.sessions import Sessions
    from cis490_receiver.policy.slowdown import Slowdown
    from cis490_receiver.upkeep.recovery import recover_quietly
    from cis490_receiver.upkeep.resuming import resumables_of, tidy_quietly
    from cis490_receiver.views import (
        body,
        contents,
        data,
        documentation,
        episodes,
        failures,
        framing,
        host_health,
        listing,
        pages,
        releases,
        symptoms,
        system,
        uploads,
    )
    from cis490_receiver.views.intake import Intake
    from cis490_receiver.views.upload_metrics import UploadMetrics
    from cis490_receiver.views.wiring import Services

    logfmt.configure(settings.log_level, journal="JOURNAL_STREAM" in os.environ)
    _say_what_gunicorn_lacks()
    backends = open_backends(settings)
    recover_quietly(backends.store, backends.index)
    clock = clock or backends.clock
    resumables = resumables_of(settings, backends, clock)
    tidy_quietly(resumables)

    app = Flask(__name__, static_folder=None)
    # The place is in use as long as this is there.
    app.extensions["cis490_receiver"] = backends
    # Every answer is ours, in JSON or, for browsers, a page.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.url_map.converters |= {"rest": episodes.RestOfPath, "episode": episodes.EpisodePath}
    authenticator = Authenticator(settings, clock, backends.tokens)
    gate = VersionGate(backends.gate_list, settings.gate_extra_commits) if settings.gate_enabled else None
    watch = Watch(
        settings=settings,
        store=backends.store,
        inventory=backends.inventory,
        index=backends.index,
        arrivals=RecentArrivals(backends.index),
        rejections=backends.rejections,
        reports=backends.reports,
        mutes=backends.mutes,
        retirements=backends.retirements,
        heartbeat=backends.heartbeat,
        faults=backends.faults,
        inspections=backends.inspections,
        gate=gate,
    )
    services = Services(
        settings=settings,
        clock=clock,
        authenticator=authenticator,
        store=backends.store,
        index=backends.index,
        releases=backends.releases,
        rejections=backends.rejections,
        reports=backends.reports,
        mutes=backends.mutes,
        alerts=backends.alerts,
        heartbeat=backends.heartbeat,
        retirements=backends.retirements,
        gate=gate,
        watch=watch,
        # Without a token nobody signs in.
        sessions=Sessions(b"" if authenticator.is_open else backends.session_key.load(), authenticator),
        codes=backends.codes,
        slowdown=Slowdown(),
        uploads=UploadMetrics(settings.workers),
        resumables=resumables,
    )
    app.extensions["cis490"] = services
    framing.init_app(app)
    failures.init_app(app)
    for part in (system, episodes, uploads, listing, releases, host_health, symptoms, pages, documentation):
        app.register_blueprint(part.blueprint(services))
    looks = contents.Looks(services)
    app.register_blueprint(contents.blueprint(services, looks))
    app.register_blueprint(data.blueprint(services, looks))

    @app.after_request
    def spare_the_answer(response: Response) -> Response:
        return body.spare_the_answer(request, response)

    app.wsgi_app = Intake(services, app.wsgi_app)  # type: ignore[method-assign]
    register(app)
    return app


def _say_what_gunicorn_lacks() -> None:
    """Where gunicorn runs with settings that are not ours, name the way that has them."""
    # Set by gunicorn before it loads an application.
    if not os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/"):
        return
    import logging

    from cis490_receiver.logfmt import event
    from cis490_receiver.serving.worker import Worker

    if not hasattr(Worker, "settings"):
        logging.getLogger(__name__).warning(
            event(
                "plain-gunicorn",
                lacks="`bind`, `workers`, limits on slow clients, refusals that arrive, figures over all workers",
                remedy="start it with: cis490-receiver serve",
            )
        )
