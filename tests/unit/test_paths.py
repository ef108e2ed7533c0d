# SPDX-License-Identifier: BSD-2-Clause
"""The order in which runtime and cache directories are chosen."""

from pathlib import Path

import pytest

from ringpass import paths
from ringpass.errors import ConfigError


@pytest.mark.parametrize("uid", [0, 1000])
def test_runtime_dir_that_the_user_chose_wins(uid: int) -> None:
    environ = {"RINGPASS_RUNTIME_DIR": "/srv/rp", "XDG_RUNTIME_DIR": "/run/user/1000"}
    assert paths.runtime_dir(environ, uid) == Path("/srv/rp")


def test_runtime_dir_of_root_is_the_system_one() -> None:
    assert paths.runtime_dir({"XDG_RUNTIME_DIR": "/run/user/0"}, 0) == Path("/run/ringpass")


def test_runtime_dir_of_a_user_is_in_the_session() -> None:
    environ = {"XDG_RUNTIME_DIR": "/run/user/1000"}
    assert paths.runtime_dir(environ, 1000) == Path("/run/user/1000/ringpass")


def test_no_runtime_dir_is_an_error_with_a_fix() -> None:
    with pytest.raises(ConfigError) as caught:
        paths.runtime_dir({}, 1000)
    assert "RINGPASS_RUNTIME_DIR" in caught.value.fix


def test_a_relative_runtime_dir_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths.runtime_dir({"RINGPASS_RUNTIME_DIR": "run"}, 0) == tmp_path / "run"


def test_control_socket_follows_the_environment(runtime_dir: Path) -> None:
    assert paths.control_socket() == runtime_dir / "control.sock"
    assert paths.control_socket(Path("/srv/rp")) == Path("/srv/rp/control.sock")


def test_cache_dir_order() -> None:
    xdg = {"XDG_CACHE_HOME": "/var/cache/me"}
    assert paths.cache_dir(xdg | {"RINGPASS_CACHE_DIR": "/srv/cache"}) == Path("/srv/cache")
    assert paths.cache_dir(xdg) == Path("/var/cache/me/ringpass")
    assert paths.cache_dir({}) == Path.home() / ".cache" / "ringpass"
