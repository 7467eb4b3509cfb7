"""What is executed in a container is a file that nobody can write to (CVE-2019-5736), on every host.

Where vm.memfd_noexec is 2, memory files cannot be executed: a runtime that falls back to a file on a disk, or to none,
either gives a container a name for a writable program of the host's, or starts nothing.
"""

from pathlib import Path

import pytest

from tests.helpers_leaks import cgroups

SYSCTL = Path("/proc/sys/vm/memfd_noexec")
# The setting is that of a PID namespace, and ends with it.
STRICT = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c")
SET = f"echo 2 > {SYSCTL} && exec \"$@\""
pytestmark = [pytest.mark.requires("root"), pytest.mark.skipif(not SYSCTL.exists(), reason="requires vm.memfd_noexec: it came with Linux 6.3")]


@pytest.fixture
def strict(runtime):
    """Call the runtime where memory files must not be executed."""
    plain = runtime.command

    def call(*words, script=SET, prefix=()):
        runtime.command = [*STRICT, script, "sh", *prefix, *plain]
        try:
            return runtime.call(*words)
        finally:
            runtime.command = plain

    return call


def test_a_container_starts(runtime, bundle, strict):
    runtime.container(bundle)
    result = strict("run", "--bundle", bundle.args(["echo", "it runs"]).write(), bundle.id)
    assert result.ok().out == "it runs\n"


def test_nobody_can_write_to_what_is_executed(runtime, bundle, strict):
    """The container waits at its gate; root of the host tries all ways to its program."""
    attack = f"""
        {SET.replace('exec "$@"', '"$@"')} || exit 1
        pid=$(cat {bundle.path}/pid)
        exe=/proc/$pid/exe
        [ "$(head -c 4 $exe | od -An -c | tr -d ' ')" = '177ELF' ] || echo 'no program'
        for try in '>> $exe' '<> $exe' '> $exe'; do
            if (eval ": $try") 2>/dev/null; then echo "written by $try"; fi
        done
        chmod 777 $exe 2>/dev/null && echo 'mode changed'
        mount --bind $exe /mnt 2>/dev/null && echo 'bound' && umount /mnt
        mount -o remount,rw $exe 2>/dev/null && echo 'remounted'
        echo done
    """
    runtime.container(bundle)
    result = strict("create", "--pid-file", bundle.path / "pid", "--bundle", bundle.write(), bundle.id, script=attack)
    assert (result.status, result.out, result.err) == (0, "done\n", "")


def test_without_the_right_to_a_safe_file_it_says_why(runtime, bundle, strict):
    prefix = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    bundle.user_namespace()
    words = ("--cgroup-manager", "disabled", "create", "--bundle", bundle.write(), bundle.id)
    strict(*words, prefix=prefix).failed("vm.memfd_noexec")
    assert (runtime.entries(), cgroups(bundle.id)) == ([], [])
