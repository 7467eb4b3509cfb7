"""`process.apparmorProfile` with a real AppArmor."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers_bundle import Bundle
from tests.helpers_runtime import Runtime

PROFILE = "pyoci-test"
TEXT = f"""
profile {PROFILE} flags=(attach_disconnected) {{
  file,
  capability,
  signal,
  ptrace,
  deny /etc/secret r,
}}
"""
CONFINED = f"{PROFILE} (enforce)"


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[str]:
    """Load a profile and give its name."""
    if not Path("/sys/kernel/security/apparmor/profiles").exists():
        pytest.skip("needs AppArmor")
    source = tmp_path / "profile"
    source.write_text(TEXT)
    load = ["apparmor_parser", "--skip-cache", "--replace", str(source)]
    done = subprocess.run(load, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    yield PROFILE
    subprocess.run(["apparmor_parser", "--remove", str(source)], capture_output=True, timeout=60, check=True)


def test_init_is_confined(runtime: Runtime, bundle: Bundle, profile: str) -> None:
    bundle.process["apparmorProfile"] = profile
    assert confinement(runtime.report(bundle)) == CONFINED


def test_without_a_profile_init_is_unconfined(runtime: Runtime, bundle: Bundle, profile: str) -> None:
    assert confinement(runtime.report(bundle)) == "unconfined"


def test_exec_inherits_the_profile_of_the_config(runtime: Runtime, bundle: Bundle, profile: str) -> None:
    bundle.process["apparmorProfile"] = profile
    container = runtime.waiting(bundle)
    assert confinement(container.exec_report()) == CONFINED


def test_exec_with_a_profile_of_its_own(runtime: Runtime, bundle: Bundle, profile: str) -> None:
    container = runtime.waiting(bundle)
    assert confinement(container.exec_report("--apparmor", profile)) == CONFINED


def test_profile_is_enforced(runtime: Runtime, bundle: Bundle, profile: str) -> None:
    (bundle.rootfs / "etc" / "secret").write_text("secret")
    assert "secret" in runtime.run(bundle.args(["cat", "/etc/secret"])).out


def test_profile_denies(runtime: Runtime, bundle: Bundle, profile: str) -> None:
    (bundle.rootfs / "etc" / "secret").write_text("secret")
    bundle.process["apparmorProfile"] = profile
    done = runtime.run(bundle.args(["cat", "/etc/secret"]))
    assert "secret" not in done.out


def test_unknown_profile_fails_the_create(runtime: Runtime, bundle: Bundle, profile: str) -> None:
    bundle.process["apparmorProfile"] = "no-such-profile"
    runtime.refuses(bundle, "no-such-profile")


def confinement(report: dict[str, Any]) -> str:
    """Return the AppArmor confinement that the probe saw."""
    return str(report["attr_current"]).strip("\0\n ")
