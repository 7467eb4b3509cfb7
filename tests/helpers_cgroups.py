"""Where a container's process is in the hierarchies, and what stands there."""

from pathlib import Path

from tests.helpers_host import controllers, mounts_of


def membership(pid):
    """Directory of the process in each hierarchy, by controller; "" is version 2."""
    found = {}
    mounted = mounts_of(Path("/proc/self/mountinfo").read_text())
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            for m in mounted:
                if (name == "" and m.type == "cgroup2") or (m.type == "cgroup" and name in m.data):
                    found[name.removeprefix("name=")] = Path(m.point) / path.lstrip("/")
    return found


def value(pid, controller, version1, version2):
    """Content of a controller's file for the hierarchy that has the controller."""
    directory = membership(pid)
    number, _ = controllers()[controller]
    file = directory[controller] / version1 if number == 1 else directory[""] / version2
    return file.read_text().strip()


def unified(name):
    """Directory of a cgroup in the hierarchy of version 2, on a hybrid host too."""
    mounted = [m.point for m in mounts_of(Path("/proc/self/mountinfo").read_text()) if m.type == "cgroup2"]
    return Path(mounted[0]) / name


def resources(bundle, **members):
    """Set linux.resources."""
    bundle.linux["resources"] = members
    return bundle


def fill_cpuset(path):
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = path / name
        if file.exists() and not file.read_text().strip():
            file.write_text((path.parent / name).read_text())
