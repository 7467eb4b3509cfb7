"""Why a program does not start is said: by create where it can be seen, else by start or exec, in the words callers match."""

import os
import struct

import pytest

from tests.helpers_bundle import PROBE

pytestmark = pytest.mark.requires("root")


def elf(machine=62, loader=None):
    """The headers of a program, with the name of its dynamic loader."""
    name = (loader or "").encode() + b"\0"
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0x400000, 64, 0, 0, 64, 56, 1 + bool(loader), 64, 0, 0)
    place = 64 + 2 * 56
    parts = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 0x1000, 0x1000, 0x1000)
    parts += struct.pack("<IIQQQQQQ", 3, 4, place, 0, 0, len(name), len(name), 1)
    return (head + parts + name).ljust(0x1000, b"\0")


# Name: content, mode, what callers match, what a human reads.
BROKEN = {
    "interpreter": (b"#!/usr/bin/nothing -x\n", 0o755, "no such file or directory", "interpreter /usr/bin/nothing,"),
    "blanks": (b"#! \t/opt/none\n", 0o755, "no such file or directory", "interpreter /opt/none,"),
    "no newline": (b"#!/opt/none", 0o755, "no such file or directory", "interpreter /opt/none,"),
    "carriage": (b"#!/bin/probe\r\necho\r\n", 0o755, "no such file or directory", "#!/bin/probe, ends with a carriage return"),
    "no first line": (b"echo hello\n", 0o755, "exec format error", "#!"),
    "empty": (b"", 0o755, "exec format error", "empty"),
    "architecture": (elf(machine=22), 0o755, "exec format error", "s390x"),
    "unknown machine": (elf(machine=999), 0o755, "exec format error", "machine 999"),
    "loader": (elf(machine={"x86_64": 62, "aarch64": 183}.get(os.uname().machine, 62), loader="/lib/ld-none.so.1"), 0o755, "no such file or directory", "loader /lib/ld-none.so.1,"),
    "mode": (b"#!/bin/probe\n", 0o644, "permission denied", "no execute permission"),
    "user": (b"#!/bin/probe\n", 0o700, "permission denied", "this user"),
    "interpreter is a directory": (b"#!/etc\n", 0o755, "permission denied", "run by /etc,"),
}


def put(bundle, name, content, mode):
    """A file of the root file system."""
    file = bundle.rootfs / name
    file.write_bytes(content)
    file.chmod(mode)
    return f"/{name}"


def fails(runtime, bundle):
    """Run the container; give the line of the failure."""
    result = runtime.run(bundle)
    assert runtime.entries() == []
    return result.failed()


@pytest.mark.parametrize("privileged", [False, True])
@pytest.mark.parametrize("name", BROKEN)
def test_what_the_file_tells(runtime, bundle, name, privileged):
    content, mode, matched, read = BROKEN[name]
    bundle.process["args"] = [put(bundle, "broken", content, mode)]
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["noNewPrivileges"] = not privileged
    line = fails(runtime, bundle)
    assert matched in line.lower() and "/broken" in line and "/process/args" in line
    assert read in line


@pytest.mark.parametrize("name", ["interpreter", "architecture", "mode"])
def test_exec_says_it_too(runtime, bundle, name):
    content, mode, matched, read = BROKEN[name]
    path = put(bundle, "broken", content, mode)
    container = runtime.waiting(bundle)
    line = runtime.call("exec", container.id, path).failed(path, read, status=255)
    assert matched in line.lower()


def test_a_directory_and_a_link_to_nowhere(runtime, bundle):
    (bundle.rootfs / "link").symlink_to("/nowhere")
    for path, matched, read in (("/etc", "permission denied", "directory"), ("/link", "no such file or directory", "symbolic link")):
        bundle.process["args"] = [path]
        line = runtime.refuses(bundle, read)
        assert matched in line.lower()


def test_a_mount_with_noexec(runtime, bundle):
    bundle.mount("/mnt", type="bind", source=str(bundle.rootfs / "bin"), options=["bind", "noexec"])
    (bundle.rootfs / "mnt").mkdir()
    bundle.process["args"] = ["/mnt/probe"]
    assert "permission denied" in runtime.refuses(bundle, "noexec").lower()


@pytest.mark.parametrize("command", [f"{PROBE} echo hello", "probe echo hello"])
def test_a_command_line_in_one_string(runtime, bundle, command):
    bundle.process["args"] = [command]
    line = runtime.refuses(bundle, "each argument is a string of its own", command)
    assert ("executable file not found in $PATH" if command[0] != "/" else "no such file or directory") in line


def test_an_empty_name(runtime, bundle):
    bundle.process["args"] = [""]
    runtime.refuses(bundle, "executable file not found in $PATH", "name of the program is empty")


def test_a_name_that_would_forge_a_line(runtime, bundle):
    bundle.process["args"] = [put(bundle, "broken", b"#!/a\x1b[31m\xff\x01/none\n", 0o755)]
    line = runtime.run(bundle).err
    assert "\x1b" not in line and line.count("\n") == 1


def test_a_pipe_is_not_waited_for(runtime, bundle):
    os.mkfifo(bundle.rootfs / "pipe", 0o755)
    bundle.process["args"] = ["/pipe"]
    assert "permission denied" in runtime.refuses(bundle, "not a regular file").lower()
