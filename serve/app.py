"""The endpoint as a Ray Serve application: ``serve run serve.app:build model=tiny profile=laptop`` or a Serve config with
``import_path: serve.app:build`` and ``args``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve as ray_serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, BackpressureConfig, RequestRouterConfig
from ray.serve.deployment import Application
from ray.serve.handle import DeploymentHandle

from serve.deployments.scaling import ByLoad
from serve.profile import Part, Profile, load_profile
from serve.settings import Fetching, Settings, Tls
from serve.setup import Setup
from serve.tracking import pinned
from vglamm.config import text_of
from vglamm.errors import ConfigError

NAME = "vglamm"
STICKY = ("vision", "pixel", "whole")
"""Deployments whose replicas may have something for a request: tokens of a session, features made ahead, a session."""
ALIVE = 2.0
"""Seconds between two looks at whether a replica lives; Serve replaces a dead one when it looks."""
REPLICAS = {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0", "MALLOC_ARENA_MAX": "2"}
"""Environment of replicas. What they do for long they do in threads of their own: another one for the rest makes each event of a
stream change threads twice. With an arena of glibc for each of their many threads, memory that was freed piecemeal adds up."""


class Args(BaseModel):
    """model: a preset with weights, a checkpoint folder, a hub id, a URL, or ``models:/NAME@ALIAS`` of an MLflow registry. models:
    further ones by name; the default one is called ``name``. profile: a name or a YAML file. spool: a folder, or an address that
    all nodes reach. token_file: with the token that clients must show; needed unless ``host`` is of this machine. url_hosts: from
    which videos may be fetched; none by default. tls_certificate, tls_key: files of the proxy; a Serve config names them in its own
    http_options. tracking: MLflow, local, off or the address of a server, kept in ``folder``."""

    model_config = ConfigDict(extra="forbid")

    model: str = "tiny"
    name: str = ""
    models: dict[str, str] = Field(default_factory=dict)
    profile: str = "laptop"
    spool: str = "out/spool"
    host: str = "127.0.0.1"
    port: int = 8000
    names: list[str] = Field(default_factory=list)
    token_file: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    url_hosts: list[str] = Field(default_factory=list)
    tracking: str = "off"
    folder: str = "out/serve"
    registry: str | None = None

    def settings(self) -> Settings:
        """ConfigError where the address needs a token, or half of TLS is missing."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError("one of tls_certificate and tls_key", "both or neither", "name the other one")
        token = None if self.token_file is None else text_of(self.token_file).strip()
        return Settings(
            spool=_absolute(self.spool),
            host=self.host,
            port=self.port,
            token=token,
            names=tuple(self.names),
            tls=None if self.tls_certificate is None or self.tls_key is None else Tls(self.tls_certificate, self.tls_key),
            fetching=Fetching(hosts=tuple(self.url_hosts)),
        )


def build(args: Args) -> Application:
    """The application. ConfigError for what is wrong with its arguments, before anything starts."""
    return application(args, load_profile(args.profile), args.settings())


def application(args: Args, profile: Profile, settings: Settings) -> Application:
    """As :func:`build`, with a profile and settings in hand."""
    from serve.deployments.decode import Decode
    from serve.deployments.ingress import Ingress
    from serve.deployments.language import Language
    from serve.deployments.pixel import Pixel
    from serve.deployments.tally import Tally
    from serve.deployments.vision import Vision
    from serve.deployments.whole import Whole

    default = args.name or Path(args.model).name or args.model
    if default in args.models:
        raise ConfigError(f"two models called {default}", "a name for each", "give one of them another name")
    models = tuple((name, pinned(source, args.registry)) for name, source in ((default, args.model), *args.models.items()))
    setup = Setup(models, profile, settings.spool, settings.taken.media, args.registry)
    parts: dict[str, DeploymentHandle] = {}
    if profile.layout == "whole":
        parts["whole"] = deployed(Whole, "whole", profile.whole, profile).bind(setup)
    else:
        parts["decode"] = deployed(Decode, "decode", profile.decode, profile).bind(setup)
        parts["vision"] = deployed(Vision, "vision", profile.vision, profile).bind(setup)
        parts["language"] = deployed(Language, "language", profile.language, profile).bind(setup)
        parts["pixel"] = deployed(Pixel, "pixel", profile.pixel, profile).bind(setup, parts["decode"])
    config = {"args": args.model_dump(exclude={"token_file"}), "profile": asdict(profile)}
    tally = ray_serve.deployment(Tally, name="tally").options(
        ray_actor_options={"num_cpus": 0}, max_ongoing_requests=64, graceful_shutdown_timeout_s=30.0
    )
    bound = tally.bind(setup, args.tracking, _absolute(args.folder), config)
    return deployed(Ingress, "ingress", profile.ingress, profile).bind(setup, settings, bound, parts)


def deployed(kind: type, name: str, part: Part, profile: Profile) -> Any:
    """A deployment as its part of the profile says."""
    options: dict[str, Any] = {
        "name": name,
        "ray_actor_options": part.resources | {"runtime_env": {"env_vars": REPLICAS}},
        "max_ongoing_requests": part.ongoing,
        "max_queued_requests": part.queued,
        "backpressure_config": BackpressureConfig(status_code=503, retry_after_s=profile.retry_after),
        "graceful_shutdown_timeout_s": part.drain,
        "graceful_shutdown_wait_loop_s": 0.5,
        "health_check_period_s": min(ALIVE, part.check),  # a living one is tried on an input each ``check`` seconds only
        "health_check_timeout_s": max(30.0, 3 * part.check),
    }
    if name in STICKY:
        options["request_router_config"] = RequestRouterConfig(request_router_class="serve.backends.sticky.Sticky")
    fewest, most = part.replicas
    if fewest == most:
        return ray_serve.deployment(kind).options(num_replicas=most, **options)
    scaling = {
        "min_replicas": fewest,
        "max_replicas": most,
        "upscale_delay_s": part.up,
        "downscale_delay_s": part.down,
        "look_back_period_s": max(15.0, part.up),  # must be longer than the time between two reports, 10 s
    }
    if name == "ingress":  # it does no work of its own: requests are its load
        return ray_serve.deployment(kind).options(
            autoscaling_config=AutoscalingConfig(target_ongoing_requests=part.ongoing / 2, **scaling), **options
        )
    policy = AutoscalingPolicy(policy_function=ByLoad, policy_kwargs={"load": part.load})
    return ray_serve.deployment(kind).options(autoscaling_config=AutoscalingConfig(policy=policy, **scaling), **options)


def _absolute(place: str) -> str:
    """Replicas work in other folders than who starts them."""
    return place if "://" in place else str(Path(place).resolve())
