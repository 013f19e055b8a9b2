"""`vglamm serve`: what is wrong with it is told before Ray starts."""

from dataclasses import fields
from inspect import signature

import pytest
from ray.exceptions import AuthenticationError

from serve.app import Args, build
from serve.settings import Tls
from serve.start import http_options, url
from vglamm.cli import main
from vglamm.commands.serve import serve
from vglamm.errors import ConfigError

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def no_ray(monkeypatch):
    def refused(*_, **__):
        raise AssertionError("Ray was started")

    monkeypatch.setattr("ray.init", refused)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "the address 0.0.0.0 without a token"),
        (["--model", "nowhere/to/be/found"], "CheckpointError"),
        (["--profile", "two-gpus"], "two-gpus"),
        (["--also", "night"], "NAME=CHECKPOINT"),
        (["--tls-key", "key.pem"], "one of --tls-certificate and --tls-key"),
    ],
)
def test_mistakes_end_with_2(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["serve", *words])
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "environment", "installed", "expected"),
    [
        ([], None, True, "local"),
        ([], None, False, "off"),
        ([], "http://books:5000", True, "http://books:5000"),
        (["--tracking", "off"], "http://books:5000", True, "off"),
    ],
)
def test_each_start_is_tracked_unless_told_otherwise(words, environment, installed, expected, monkeypatch):
    def running(args, address):
        started.append(args.tracking)
        raise ConfigError("as far as this test goes", "nothing more", "end")

    started: list[str] = []
    monkeypatch.setattr("serve.start.running", running)
    monkeypatch.setattr("vglamm.commands.serve.find_spec", lambda name: installed and name == "mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if environment:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", environment)
    with pytest.raises(SystemExit):
        main(["serve", *words])
    assert started == [expected]


def test_a_cluster_whose_token_is_not_there_is_told(monkeypatch, capsys):
    def refused(*_, **__):
        raise AuthenticationError("WrongClusterID")

    monkeypatch.setattr("ray.init", refused)
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--ray", "10.0.0.1:6379"])
    assert ended.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "a Ray cluster at 10.0.0.1:6379 that does not take this user's token" in told
    assert "EnvironmentProblem" in told


def test_a_token_opens_other_addresses_and_stays_secret(tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    settings = Args(host="0.0.0.0", token_file=str(tmp_path / "token"), names=["vglamm.example.org"]).settings()
    assert (settings.token, settings.host, settings.names) == (TOKEN, "0.0.0.0", ("vglamm.example.org",))
    assert TOKEN not in repr(settings)
    assert TOKEN not in str(Args(token_file=str(tmp_path / "token")).model_dump())


def test_half_of_tls_and_two_models_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="tls_key"):
        Args(tls_certificate="cert.pem").settings()
    with pytest.raises(ConfigError, match="two models called tiny"):
        build(Args(models={"tiny": "runs/night"}))


def test_an_alias_is_looked_up_once_for_all_parts(monkeypatch):
    asked = []
    monkeypatch.setattr("serve.app.pinned", lambda source, registry: asked.append((source, registry)) or f"{source}/7")
    made = build(Args(model="models:/night@champion", models={"day": "models:/day@best"}, registry="books"))
    setup = made._bound_deployment.init_args[0]
    assert setup.models == (("night@champion", "models:/night@champion/7"), ("day", "models:/day@best/7"))
    assert asked == [("models:/night@champion", "books"), ("models:/day@best", "books")]


def test_what_tls_there_is_can_be_asked_for():
    parts = {f"tls_{part.name}" for part in fields(Tls)}
    assert parts <= set(Args.model_fields)
    assert parts <= set(signature(serve).parameters)


def test_the_proxy_is_told_address_and_tls(tmp_path):
    settings = Args(port=8443, tls_certificate="cert.pem", tls_key="key.pem").settings()
    options = http_options(settings)
    assert (options.host, options.port, options.ssl_certfile, options.ssl_keyfile) == ("127.0.0.1", 8443, "cert.pem", "key.pem")
    assert url(settings) == "https://127.0.0.1:8443"
    assert url(Args(host="::1").settings()) == "http://[::1]:8000"
