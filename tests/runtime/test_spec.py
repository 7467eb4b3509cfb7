"""spec: the configuration to begin with is of the newest version, and for the host that it is written on."""

import json
import shutil

import pytest

from tests.helpers_host import missing
from tests.property.strategies import validator


@pytest.fixture
def written(runtime, tmp_path):
    """What spec writes, with options."""

    def write(*options):
        file = tmp_path / "config.json"
        file.unlink(missing_ok=True)
        runtime.call("spec", *options, "--bundle", tmp_path).ok()
        return json.loads(file.read_text())

    return write


@pytest.mark.parametrize("options", [(), ("--rootless",)])
def test_it_is_of_the_version_that_is_implemented(runtime, written, options):
    config = written(*options)
    validator("config.schema.json").validate(config)
    assert f"spec: {config['ociVersion']}\n" in runtime.call("--version").ok().out


@pytest.mark.requires("root")
@pytest.mark.parametrize("options", [(), ("--rootless",)])
def test_a_cgroup_namespace_is_for_hosts_with_version_2_alone(written, options):
    kinds = {namespace["type"] for namespace in written(*options)["linux"]["namespaces"]}
    assert ("cgroup" in kinds) == (not missing("cgroup_v2"))
    assert {"pid", "ipc", "uts", "mount"} <= kinds


@pytest.mark.requires("root")
@pytest.mark.usefixtures("one_file")
def test_it_is_written_where_nothing_is_known_of_the_host(runtime, bundle):
    root = bundle.path / "alone"
    root.mkdir()
    shutil.copy(runtime.command[0], root / "pyoci")
    runtime.command = ["chroot", str(root), "/pyoci"]
    runtime.call("spec").ok()
    namespaces = json.loads((root / "config.json").read_text())["linux"]["namespaces"]
    assert {"type": "cgroup"} not in namespaces
