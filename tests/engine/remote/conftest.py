"""What tests of runs in object stores have: fsspec's store in memory, or moto's S3 on 127.0.0.1, and machines."""

import uuid

import pytest

from engine import claims
from engine.remote.objects import Objects
from tests.engine import jobs
from tests.engine.remote.machines import JOB, Machine, halt, scene


@pytest.fixture(scope="package")
def s3():
    """A server that speaks S3, with a bucket; it may be stopped and started again, and keeps what it has."""
    pytest.importorskip("s3fs", reason="s3fs is not installed (the extra s3)")
    servers = pytest.importorskip("moto.server", reason="moto is not installed (pip install 'moto[server]')")
    server = servers.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    server._port = server.get_host_and_port()[1]
    names = {"ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s", "DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (names | {"ENDPOINT_URL": f"http://127.0.0.1:{server._port}"}).items():
            patch.setenv(f"AWS_{name}", value)
        from s3fs import S3FileSystem

        S3FileSystem(skip_instance_cache=True).mkdir("bucket")
        yield server
        halt(server)


@pytest.fixture
def url(request):
    """Of a store in memory, or in S3 where a test asks for it by `in_s3`."""
    name = f"{uuid.uuid4().hex}/run"
    return f"s3://bucket/{name}" if "s3" in request.fixturenames else f"memory://{name}"


@pytest.fixture
def machine(tmp_path, url, monkeypatch):
    monkeypatch.setattr("engine.prior.open_prior", lambda *_: jobs.prior())
    monkeypatch.setattr(claims, "BEAT", 0.05)
    return lambda name="one": Machine(tmp_path / name, url)


@pytest.fixture
def alone(tmp_path, machine):
    """The scene of the job done in a folder, without a stop."""
    jobs.do(tmp_path / "alone", JOB)
    return scene(tmp_path / "alone")


@pytest.fixture
def away(monkeypatch):
    """Whether the store does not answer."""
    state, path = {"away": False}, Objects._path

    def asked(self, name):
        if state["away"]:
            raise ConnectionError("no route")
        return path(self, name)

    monkeypatch.setattr(Objects, "_path", asked)
    return state


@pytest.fixture
def third(tmp_path, monkeypatch):
    """A machine on which commands are given."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "third"))
