"""Documents that must be refused: one line on stderr with the place, exit status 1, nothing left behind."""

import json
import re

import pytest

pytestmark = pytest.mark.requires("root")
HUGE = 1 << 70


def set_at(document, pointer, value):
    """Set the value at a JSON pointer; None removes it."""
    *path, last = pointer.removeprefix("/").split("/")
    for word in path:
        document = document[int(word) if isinstance(document, list) else word]
    if value is None:
        del document[last]
    elif isinstance(document, list) and last == "-":
        document.append(value)
    else:
        document[int(last) if isinstance(document, list) else last] = value


def place_of(bundle, value):
    """Line of the config on which a value stands."""
    text = json.dumps(bundle.config, indent=1).splitlines()
    return next(number for number, line in enumerate(text, 1) if str(value) in line)


def refused(runtime, bundle, pointer, *changes, words=()):
    """Demand a refusal that names the pointer."""
    for where, value in changes:
        set_at(bundle.config, where, value)
    line = runtime.refuses(bundle, pointer, *words)
    assert "config.json" in line
    return line


# ---- not JSON


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"", "1:1"), (b"{", "1:2"), (b'{\n  "a" 1}', "2:7"), (b'{"a": 1,}', "1:9"), (b"[1, 2", "1:6"), (b"nul", "1:"),
        (b'{"a": 1} x', "1:10"), (b'{"a": NaN}', "1:7"), (b'{"a": Infinity}', "1:7"), (b'{"a": 01}', "1:"),
        (b'{"a": "\xff"}', "1:"), (b'{"a": "\x01"}', "1:"), (b'{"a": "\\ud800"}', "1:"), (b"\xef\xbb\xbf{}", "1:1"),
        (b'{"a": "x\\u0000y"}', "1:"), (b"[" * 100000, "1:"), (b"{'a': 1}", "1:2"), (b"\0", "1:1"),
        (b'{"a": 1e999}', "1:"), (b'{"a": ' + b"9" * 400 + b"}", "1:"),
    ],
    ids=lambda value: ascii(value)[:25],
)  # fmt: skip
def test_not_json(runtime, bundle, text, place):
    bundle.raw = text
    line = runtime.refuses(bundle, f"config.json:{place}")
    assert len(line) < 1000


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "null", "true"])
def test_not_an_object(runtime, bundle, text):
    bundle.raw = text.encode()
    runtime.refuses(bundle, "config.json")


@pytest.mark.parametrize(("old", "new", "name"), [
    ('"hostname": "box"', '"hostname": "box", "hostname": "other"', "hostname"),
    ('"cwd": "/"', '"cwd": "/", "\\u0063wd": "/tmp"', "cwd"),
    ('"readonly": false', '"readonly": true, "readonly": false', "readonly"),
])  # fmt: skip
def test_duplicate_names(runtime, bundle, old, new, name):
    text = json.dumps(bundle.config)
    assert old in text
    bundle.raw = text.replace(old, new).encode()
    runtime.refuses(bundle, f'"{name}"', "duplicate")


def test_no_config(runtime, bundle):
    bundle.write().joinpath("config.json").unlink()
    result = runtime.call("create", "--bundle", bundle.path, bundle.id)
    assert "no such file or directory" in result.failed("config.json").lower()


def test_no_bundle(runtime, bundle):
    result = runtime.call("create", "--bundle", "/nowhere/at/all", bundle.id)
    assert "no such file or directory" in result.failed("/nowhere/at/all").lower()


# ---- shape


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/process", []), ("/process/args", "probe"), ("/process/args/0", 1), ("/process/terminal", 1),
        ("/process/terminal", "true"), ("/process/user/uid", "0"), ("/process/user/uid", True), ("/process/user/uid", 1.5),
        ("/process/user/uid", 1.0), ("/process/env", {}), ("/root/readonly", "yes"), ("/mounts", {}), ("/mounts/0", "proc"),
        ("/linux/namespaces", {}), ("/linux/namespaces/0/type", 5), ("/hostname", 5), ("/ociVersion", 1),
        ("/mounts/1/options/0", 7), ("/linux", []), ("/process/capabilities/bounding", "CAP_KILL"),
    ],
)  # fmt: skip
def test_wrong_type(runtime, bundle, pointer, value):
    refused(runtime, bundle, pointer, (pointer, value))


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/process/user/uid", -1), ("/process/user/uid", 2**32 - 1), ("/process/user/uid", 2**32), ("/process/user/gid", 2**40),
        ("/process/user/umask", -1), ("/process/oomScoreAdj", 1001), ("/process/oomScoreAdj", -1001),
    ],
)  # fmt: skip
def test_out_of_range(runtime, bundle, pointer, value):
    refused(runtime, bundle, pointer, (pointer, value))


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/process/rlimits", [{"type": "RLIMIT_CORE", "soft": -1, "hard": 0}]),
        ("/process/rlimits", [{"type": "RLIMIT_CORE", "soft": 2**63, "hard": 2**62}]),
        ("/linux/resources", {"pids": {"limit": 2**63}}),
        ("/linux/resources", {"cpu": {"shares": -1}}),
        ("/linux/devices", [{"path": "/dev/x", "type": "c", "major": "1", "minor": 1}]),
        ("/linux/uidMappings", [{"containerID": -1, "hostID": 0, "size": 1}]),
        ("/linux/timeOffsets", {"monotonic": {"secs": 0, "nanosecs": 10**9}}),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_out_of_range_deeper(runtime, bundle, pointer, value):
    refused(runtime, bundle, pointer, (pointer, value))


@pytest.mark.parametrize("pointer", ["/process/user/gid", "/process/oomScoreAdj"])
@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, HUGE])
def test_number_that_no_integer_of_the_kernel_holds(runtime, bundle, pointer, value):
    set_at(bundle.config, pointer, value)
    runtime.refuses(bundle, f"config.json:{place_of(bundle, value)}:", "range")


@pytest.mark.parametrize(
    "pointer",
    ["/ociVersion", "/root", "/root/path", "/process/args", "/process/cwd", "/process/user/uid", "/mounts/0/destination",
     "/linux/namespaces/0/type"],
)  # fmt: skip
def test_missing_member(runtime, bundle, pointer):
    refused(runtime, bundle, f" {pointer}: ", (pointer, None), words=("is missing",))


@pytest.mark.parametrize("pointer", ["/ociVersion", "/root", "/process/args", "/linux/namespaces/0/type"])
def test_a_required_member_that_is_null_is_missing(runtime, bundle, pointer):
    *parents, name = pointer.removeprefix("/").split("/")
    holder = bundle.config
    for part in parents:
        holder = holder[int(part) if isinstance(holder, list) else part]
    holder[name] = None
    runtime.refuses(bundle, f" {pointer}: ", "is missing")


def test_a_member_that_is_null_is_absent(runtime, bundle):
    """As programs in Go write what they have not set."""
    bundle.config.update(hooks={"prestart": None, "poststop": None}, annotations={"a": None}, domainname=None)
    bundle.process.update(rlimits=None, oomScoreAdj=None, terminal=None, consoleSize=None, selinuxLabel=None)
    bundle.process["user"]["additionalGids"] = None
    bundle.config["mounts"][0]["options"] = None
    bundle.linux.update(resources={"memory": None, "pids": {"limit": None}, "unified": None}, seccomp=None, sysctl=None)
    bundle.linux.update(maskedPaths=None, cgroupsPath=None)
    assert runtime.report(bundle)["pid"] == 1


def test_a_user_without_gid_has_gid_0(runtime, bundle):
    bundle.process["user"] = {"uid": 5}
    report = runtime.report(bundle)
    assert (report["uids"], report["gids"]) == ([5] * 3, [0] * 3)


def test_user_may_be_absent(runtime, bundle):
    """The schema does not require process.user, and the words of the specification do."""
    set_at(bundle.config, "/process/user", None)
    report = runtime.report(bundle)
    assert (report["uids"], report["gids"]) == ([0] * 3, [0] * 3)


@pytest.mark.parametrize("pointer", ["/hostname", "/process/args/0", "/process/cwd", "/root/path", "/mounts/0/destination"])
def test_nul_bytes(runtime, bundle, pointer):
    set_at(bundle.config, pointer, "/a\0b")
    runtime.refuses(bundle, "config.json")


# ---- words


@pytest.mark.parametrize(
    ("pointer", "value", "nearest"),
    [
        ("/linux/namespaces/0/type", "netwrk", "network"),
        ("/linux/namespaces/0/type", "mnt", 'did you mean "mount"?'),
        ("/linux/namespaces/1/type", "net", 'did you mean "network"?'),
        ("/process/rlimits", [{"type": "nofile", "soft": 1, "hard": 1}], 'did you mean "RLIMIT_NOFILE"?'),
        ("/linux/rootfsPropagation", "rslvae", "rslave"),
        ("/process/rlimits", [{"type": "RLIMIT_NOFILES", "soft": 1, "hard": 1}], "RLIMIT_NOFILE"),
        ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALOW"}, "SCMP_ACT_ALLOW"),
        ("/linux/personality", {"domain": "LINUX64"}, "LINUX"),
        ("/process/scheduler", {"policy": "SCHED_FIF"}, "SCHED_FIFO"),
        ("/process/ioPriority", {"class": "IOPRIO_CLASS_BEE", "priority": 1}, "IOPRIO_CLASS_BE"),
        ("/linux/devices", [{"path": "/dev/x", "type": "q", "major": 1, "minor": 1}], ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unknown_word(runtime, bundle, pointer, value, nearest):
    refused(runtime, bundle, pointer, (pointer, value), words=(nearest,))


@pytest.mark.parametrize(
    ("mount", "nearest"),
    [
        ({"type": "tmpf", "source": "x"}, "tmpfs"),
        ({"type": "tmpfs", "source": "x", "options": ["siz=1m"]}, "size"),
        ({"type": "tmpfs", "source": "x", "options": ["nosiud"]}, "nosuid"),
        ({"source": "/", "options": ["bind", "rslvae"]}, "rslave"),
    ],
    ids=str,
)
def test_unknown_word_of_a_mount(runtime, bundle, mount, nearest):
    bundle.config["mounts"].append({"destination": "/x", **mount})
    runtime.refuses(bundle, f'did you mean "{nearest}"?')


def test_a_known_option_with_a_wrong_value_is_not_suggested(runtime, bundle):
    bundle.config["mounts"].append({"destination": "/x", "type": "tmpfs", "source": "x", "options": ["size=much"]})
    assert "did you mean" not in runtime.refuses(bundle, "size")


@pytest.mark.parametrize("name", ["SYS_ADMIN", "cap_sys_admin", "CAP_SYS_ADMN"])
def test_an_unknown_capability_is_a_warning_with_the_nearest_one(runtime, bundle, name):
    bundle.process["capabilities"] = {"bounding": [name]}
    result = runtime.run(bundle.args("true"))
    assert result.status == 0 and name in result.err and 'did you mean "CAP_SYS_ADMIN"?' in result.err


# ---- paths


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/process/cwd", "relative/path"), ("/process/cwd", ""), ("/linux/maskedPaths", ["relative"]),
        ("/linux/readonlyPaths", ["../x"]), ("/linux/namespaces/1", {"type": "network", "path": "relative/ns"}),
        ("/linux/devices", [{"path": "dev/x", "type": "c", "major": 1, "minor": 3}]),
    ],
)  # fmt: skip
def test_relative_path(runtime, bundle, pointer, value):
    refused(runtime, bundle, pointer, (pointer, value), words=("absolute",))


# ---- contradictions


def test_hostname_without_uts_namespace(runtime, bundle):
    bundle.without_namespace("uts")
    refused(runtime, bundle, "/hostname", words=("uts",))


def test_domainname_without_uts_namespace(runtime, bundle):
    bundle.without_namespace("uts")
    refused(runtime, bundle, "/domainname", ("/hostname", None), ("/domainname", "x"), words=("uts",))


def test_namespace_twice(runtime, bundle):
    refused(runtime, bundle, "/linux/namespaces/5", ("/linux/namespaces/-", {"type": "pid"}), words=("pid",))


def test_rlimit_twice(runtime, bundle):
    limit = {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
    refused(runtime, bundle, "/process/rlimits/1", ("/process/rlimits", [limit, limit]), words=("RLIMIT_CORE",))


def test_soft_above_hard(runtime, bundle):
    limit = {"type": "RLIMIT_CORE", "soft": 2, "hard": 1}
    refused(runtime, bundle, "/process/rlimits/0", ("/process/rlimits", [limit]))


def test_user_namespace_without_mappings(runtime, bundle):
    refused(runtime, bundle, "/linux", ("/linux/namespaces/-", {"type": "user"}), words=("appings",))


def test_mappings_without_user_namespace(runtime, bundle):
    refused(runtime, bundle, "/linux/uidMappings",
            ("/linux/uidMappings", [{"containerID": 0, "hostID": 0, "size": 1}]))  # fmt: skip


def test_time_offsets_without_time_namespace(runtime, bundle):
    refused(runtime, bundle, "/linux/timeOffsets", ("/linux/timeOffsets", {"boottime": {"secs": 1, "nanosecs": 0}}))


def test_mount_mappings_alone(runtime, bundle):
    mount = {"destination": "/x", "source": "/", "options": ["bind"],
             "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}  # fmt: skip
    refused(runtime, bundle, "/mounts/5", ("/mounts/-", mount))


@pytest.mark.parametrize("value", [[], [""]])
def test_no_args(runtime, bundle, value):
    refused(runtime, bundle, "/process/args", ("/process/args", value))


@pytest.mark.parametrize("value", ["NOEQUALS", "=x", ""])
def test_wrong_environment(runtime, bundle, value):
    refused(runtime, bundle, "/process/env/1", ("/process/env/-", value))


@pytest.mark.parametrize("version", ["", "x", "1", "1.0", "2.0.0", "0.9.0", "01.0.0", "1.0.0-", "v1.0.0"])
def test_wrong_version(runtime, bundle, version):
    refused(runtime, bundle, "/ociVersion", ("/ociVersion", version))


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.99.3", "1.0.0-rc.1+build.5"])
def test_good_version(runtime, bundle, version):
    bundle.config["ociVersion"] = version
    assert runtime.run(bundle.args("true")).status == 0


def test_unknown_members_are_ignored(runtime, bundle):
    bundle.config.update(unheardOf={"a": [1]}, windows={"layerFolders": []}, vm={})
    bundle.process["unheardOf"] = 1
    bundle.linux["unheardOf"] = None
    runtime.run(bundle.args("true")).ok()


def test_linux_may_be_absent(runtime, bundle):
    """All namespaces are inherited: then either the program sees its root alone, or the refusal says what is missing.

    The host's mounts stay as they are (the leak check compares them).
    """
    del bundle.config["linux"], bundle.config["hostname"]
    bundle.config["mounts"] = []
    bundle.process["args"] = ["/bin/probe", "list", "/"]
    result = runtime.run(bundle)
    if result.status == 0:
        assert sorted(result.lines[0]["names"]) == sorted(name.name for name in bundle.rootfs.iterdir())
    else:
        result.failed('of type "mount"')


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("/process/terminal", True), ("/linux/devices", [{"path": "/dev/x", "type": "p"}]), ("/root/readonly", True),
     ("/linux/rootfsPropagation", "slave"), ("/linux/mountLabel", "a:b:c:d")],
)  # fmt: skip
def test_what_only_a_mount_namespace_can_give(runtime, bundle, pointer, value):
    bundle.without_namespace("mount").config["mounts"] = []
    options = ("--console-socket", "/nowhere") if pointer == "/process/terminal" else ()
    set_at(bundle.config, pointer, value)
    runtime.refuses(bundle, pointer, 'of type "mount"', options=options)


def test_all_problems_are_counted(runtime, bundle):
    set_at(bundle.config, "/process/cwd", "relative")
    set_at(bundle.config, "/hostname", 5)
    line = runtime.refuses(bundle, "config.json")
    assert re.search(r"\(and 1 more problem\)", line)


def test_place_of_a_wrong_value(runtime, bundle):
    bundle.config["process"]["cwd"] = "relative"
    runtime.refuses(bundle, "/process/cwd", f"config.json:{place_of(bundle, 'relative')}:")


# ---- the command line


@pytest.mark.parametrize(
    "words",
    [["nosuchverb"], ["create"], ["create", "--nosuchflag", "x"], ["create", "a", "b"], ["create", "--preserve-fds", "x", "a"],
     ["create", "--preserve-fds", "-1", "a"], ["--nosuchglobal", "list"], ["list", "--format", "xml"], ["run", "--bundle"],
     ["delete", "--forc", "x"], ["kill"], ["start", "a", "b"], ["create", "--no-pivot=maybe", "x"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_command_line(runtime, words):
    runtime.call(*words).failed()


@pytest.mark.parametrize(
    ("words", "nearest"),
    [(["crate", "x"], "create"), (["help", "strat"], "start"), (["create", "--bundel", "/b", "x"], "--bundle"),
     (["--rot=/x", "list"], "--root"), (["exec", "--cap", "SYS_ADMIN", "x", "true"], "CAP_SYS_ADMIN")],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_was_meant(runtime, bundle, words, nearest):
    container = runtime.waiting(bundle) if words[0] == "exec" else None
    words = [container.id if container and word == "x" else word for word in words]
    result = runtime.call(*words)
    result.failed(f'did you mean "{nearest}"?', status=result.status or 1)


@pytest.mark.parametrize("verb", ["create", "run", "start", "state", "kill", "delete", "exec", "list", "ps", "pause", "resume",
                                  "update", "spec"])  # fmt: skip
def test_help(runtime, verb):
    result = runtime.call(verb, "--help").ok()
    assert verb in result.out


def test_checkpoint_is_not_claimed(runtime):
    assert runtime.call("checkpoint", "--help").status != 0
