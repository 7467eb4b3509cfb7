"""An error names the source that it is about: a document with line and column, or an option by its name."""

import json
import os

import pytest

from pyoci import codec
from tests.helpers_bundle import PROBE
from tests.helpers_cgroups import resources

pytestmark = pytest.mark.requires("root")


def place(text, pointer, name="config.json", shown=None):
    """Return how a message names the value at a pointer."""
    line, column = codec.loads(text, name).where(pointer)
    return f"{name}:{line}:{column}: {pointer if shown is None else shown}"


def in_config(bundle, pointer):
    """Return how a message names a setting of a bundle."""
    return place((bundle.write() / "config.json").read_bytes(), pointer)


def option(bundle):
    bundle.config["mounts"].append({"destination": "/x", "type": "tmpfs", "source": "x", "options": ["siz=1m"]})
    return f"/mounts/{len(bundle.config['mounts']) - 1}"


def source(bundle):
    bundle.config["mounts"].append({"destination": "/x", "source": "/no/such/source", "options": ["bind"]})
    return f"/mounts/{len(bundle.config['mounts']) - 1}/source"


def program(bundle):
    bundle.process["args"] = ["no-such-program"]
    return "/process/args/0"


def cwd(bundle):
    (bundle.rootfs / "file").write_text("")
    bundle.process["cwd"] = "/file"
    return "/process/cwd"


def root(bundle):
    bundle.config["root"]["path"] = "/no/such/root"
    return "/root/path"


def namespace(bundle):
    bundle.linux["namespaces"].append({"type": "user", "path": "/no/such/namespace"})
    return f"/linux/namespaces/{len(bundle.linux['namespaces']) - 1}/path"


def wrong_namespace(bundle):
    bundle.linux["namespaces"].append({"type": "user", "path": "/proc/self/ns/net"})
    return f"/linux/namespaces/{len(bundle.linux['namespaces']) - 1}/path"


def host_hook(bundle):
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    return "/hooks/createRuntime/0"


def inner_hook(bundle):
    bundle.config["hooks"] = {"createContainer": [{"path": "/no/such/hook"}]}
    return "/hooks/createContainer/0"


def parameter(bundle):
    bundle.linux["sysctl"] = {"net.core.somaxconn": "many"}
    return "/linux/sysctl/net.core.somaxconn"


def refused_by_the_plan(bundle):
    bundle.config["mounts"].append({"destination": "/proc/self", "type": "tmpfs", "source": "x"})
    return f"/mounts/{len(bundle.config['mounts']) - 1}/destination"


@pytest.mark.parametrize(
    "change",
    [option, source, program, cwd, root, namespace, wrong_namespace, host_hook, inner_hook, parameter, refused_by_the_plan],
    ids=lambda change: change.__name__,
)
def test_what_is_found_late_has_its_line(runtime, bundle, change):
    pointer = change(bundle)
    runtime.refuses(bundle, in_config(bundle, pointer))


def test_a_limit_that_the_kernel_refuses(runtime, bundle):
    resources(bundle, cpu={"cpus": "4000"})
    runtime.refuses(bundle, in_config(bundle, "/linux/resources/cpu/cpus"))


def test_a_cgroup_that_cannot_be(runtime, bundle):
    bundle.linux["cgroupsPath"] = f"/{bundle.id}\nx"
    runtime.refuses(bundle, in_config(bundle, "/linux/cgroupsPath"))


def test_a_terminal_that_nobody_takes(runtime, bundle):
    bundle.process["terminal"] = True
    runtime.refuses(bundle, in_config(bundle, "/process/terminal"))


def test_what_start_finds(runtime, bundle):
    """By then the bundle may have changed: the recorded configuration counts."""
    bundle.config["hooks"] = {"startContainer": [{"path": "/no/such/hook"}]}
    expected = in_config(bundle, "/hooks/startContainer/0")
    container = runtime.create(bundle)
    bundle.config.update(hooks={})
    bundle.write()
    container.call("start").failed(expected)


def test_a_program_that_cannot_be_run(runtime, bundle):
    program = bundle.rootfs / "bin/no-program"
    program.write_text("no program")
    program.chmod(0o755)
    bundle.process["args"] = ["/bin/no-program"]
    expected = in_config(bundle, "/process/args")
    container = runtime.create(bundle)
    container.call("start").failed(expected)
    container.delete("--force").ok()
    runtime.run(bundle).failed(expected)


def test_what_poststart_finds(runtime, bundle):
    bundle.config["hooks"] = {"poststart": [{"path": "/bin/false"}]}
    expected = in_config(bundle, "/hooks/poststart/0")
    runtime.create(bundle.args("wait")).call("start").failed(expected)


def test_a_warning_of_the_removal(runtime, bundle):
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/false"}]}
    expected = in_config(bundle, "/hooks/poststop/0")
    assert expected in runtime.create(bundle).call("delete", "--force").err


def test_another_configuration_file(runtime, bundle):
    bundle.process["args"] = ["no-such-program"]
    bundle.write()
    other = bundle.path / "other.json"
    (bundle.path / "config.json").rename(other)
    expected = place(other.read_bytes(), "/process/args/0", str(other))
    runtime.call("create", "--bundle", bundle.path, "--config", other, bundle.id).failed(expected)
    bundle.process["args"] = [PROBE, "wait"]
    bundle.config["hooks"] = {"poststart": [{"path": "/bin/false"}]}
    (bundle.write() / "config.json").rename(other)
    expected = place(other.read_bytes(), "/hooks/poststart/0", str(other))
    runtime.call("create", "--bundle", bundle.path, "--config", other, bundle.id).ok()
    other.write_text("")
    runtime.call("start", bundle.id).failed(expected)
    other.write_text('{\n "ociVersion" 1}')
    line = runtime.call("create", "--bundle", bundle.path, "--config", other, bundle.id).failed(f"{other}:2:15: ")
    assert "line 2 column 15" in line


@pytest.mark.parametrize("name", ["--console-socket", "--pidfd-socket", "--pid-file"])
def test_what_only_an_option_is_about(runtime, bundle, name):
    bundle.process["terminal"] = name == "--console-socket"
    line = runtime.refuses(bundle, "/no/such/place", f"[{name}]", options=(name, "/no/such/place"))
    assert "config.json" not in line


def test_the_file_of_an_option_is_not_there(runtime, bundle):
    container = runtime.waiting(bundle)
    runtime.call("exec", "--process", "/no/such/file", container.id).failed("/no/such/file", "[--process]", status=255)
    runtime.call("update", "--resources", "/no/such/file", container.id).failed("/no/such/file", "[--resources]")


# ---- exec


@pytest.fixture
def container(runtime, bundle):
    """A running container that waits."""
    (bundle.rootfs / "file").write_text("")
    return runtime.waiting(bundle)


@pytest.mark.parametrize(
    ("options", "name"),
    [((), "exec no-such-program"), (("--cwd", "/file"), "--cwd"), (("--apparmor", "no-such-profile"), "--apparmor")],
    ids=str,
)
def test_exec_by_options(container, options, name):
    line = container.runtime.call("exec", *options, container.id, "no-such-program").failed(f"[{name}]", status=255)
    assert "config.json" not in line


def test_exec_with_a_user_that_is_not_mapped(runtime, bundle):
    container = runtime.waiting(bundle.user_namespace(size=100))
    assert "config.json" not in container.exec("true", options=("--user", "100")).failed("--user", status=255)


def test_exec_with_what_the_container_has(container):
    """The rest is that of the configuration, and stands there."""
    os.rename(container.bundle.rootfs / "var", container.bundle.rootfs / "gone")
    process = {**container.bundle.process, "args": [PROBE, "true"]}
    container.exec_process(process).ok()
    container.exec("true", options=("--cwd", "/var")).failed("[--cwd]", status=255)


def test_exec_in_a_directory_that_has_gone(runtime, bundle):
    bundle.process["cwd"] = "/var/lib/data"
    expected = in_config(bundle.args("wait"), "/process/cwd")
    container = runtime.waiting(bundle)
    os.rename(bundle.rootfs / "var", bundle.rootfs / "gone")
    container.exec("true").failed(expected, status=255)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [({"cwd": "relative"}, "/cwd"), ({"cwd": "/file"}, "/cwd"), ({"args": ["no-such-program"]}, "/args/0")],
    ids=str,
)
def test_exec_of_a_process_file(container, changes, pointer):
    process = {"args": [PROBE, "true"], "cwd": "/", "user": {"uid": 0, "gid": 0}, **changes}
    text = json.dumps(process, indent=2).encode()
    file = container.bundle.path / "process.json"
    file.write_bytes(text)
    line = container.runtime.call("exec", "--process", file, container.id).failed(
        place(text, pointer, str(file)), status=255
    )
    assert "config.json" not in line


def test_exec_of_a_process_file_that_is_not_json(container):
    file = container.bundle.path / "process.json"
    file.write_text('{\n "cwd" "/"}')
    container.runtime.call("exec", "--process", file, container.id).failed(
        f"{file}:2:8: ", "line 2 column 8", status=255
    )


def test_an_unknown_capability_of_a_process_file(container):
    process = {"args": [PROBE, "true"], "cwd": "/", "capabilities": {"bounding": ["SYS_ADMIN"]}}
    done = container.exec_process(process)
    assert f"{container.bundle.path / 'process.json'}:1:" in done.err and ": /capabilities/bounding]" in done.err
    assert 'did you mean "CAP_SYS_ADMIN"?' in done.err


# ---- update


@pytest.mark.requires("cpuset")
@pytest.mark.parametrize("value", ["4000", "x"])
def test_update_by_an_option(container, value):
    line = container.runtime.call("update", "--cpuset-cpus", value, container.id).failed("--cpuset-cpus")
    assert "config.json" not in line and "options:" not in line


@pytest.mark.requires("cpuset")
@pytest.mark.parametrize("value", ["4000", "x"])
@pytest.mark.parametrize("stdin", [False, True])
def test_update_by_a_file(container, value, stdin):
    text = json.dumps({"cpu": {"cpus": value}}, indent=1).encode()
    file = container.bundle.path / "resources.json"
    file.write_bytes(text)
    name = "standard input" if stdin else str(file)
    words = ["update", "--resources", "-" if stdin else str(file), container.id]
    line = container.runtime.call(*words, **({"stdin": text.decode()} if stdin else {})).failed(place(text, "/cpu/cpus", name))
    assert "config.json" not in line


# ---- which container


@pytest.mark.parametrize("verb", ["start", "state", "kill", "delete", "pause", "resume", "ps"])
def test_which_container_does_not_exist(runtime, verb):
    runtime.root.mkdir()
    runtime.call(verb, "nosuch").failed("container does not exist", "nosuch", str(runtime.root))


def test_which_container_exists(runtime, bundle):
    container = runtime.create(bundle)
    runtime.call("create", "--bundle", bundle.path, container.id).failed(
        "container with given ID already exists", container.id, str(runtime.root)
    )


# ---- what a configuration may hold


ODD = "/a\n\x1b[31m\u202ered"


def test_a_plan_is_printable(runtime, bundle):
    bundle.config["mounts"].append({"destination": ODD, "type": "tmpfs", "source": "x"})
    bundle.config["hooks"] = {"createRuntime": [{"path": ODD}], "startContainer": [{"path": ODD, "args": [ODD]}]}
    shown = runtime.call("plan", "--bundle", bundle.write()).ok().out
    assert all(line.isprintable() for line in shown.split("\n"))
    assert shown.count("/a\\n\\x1b[31m\\u202ered") > 1


def test_a_list_is_printable(runtime, bundle):
    moved = bundle.path.with_name(f"bundle{ODD.replace('/', '')}")
    bundle.write().rename(moved)
    runtime.container(bundle)
    try:
        runtime.call("create", "--bundle", moved, bundle.id).ok()
        head, line, end = runtime.call("list").ok().out.split("\n")
        assert head.isprintable() and line.isprintable() and end == ""
        assert "\\n\\x1b[31m" in line
    finally:
        moved.rename(bundle.path)
