"""A container with CAP_MKNOD makes any device node, and opens only what every container may have.

The defaults are applied behind the rules of the configuration, so that each entry in them is a device that no rule can
take away.  One too many (c 5:1, the console of the host) and a container writes to the host's screen, or reads its
keyboard.  runc's list is the measure: it is compared as a whole, by what can be opened, and on v1 by what the kernel
says is allowed.
"""

import errno

import pytest

from tests.helpers_cgroups import membership

pytestmark = pytest.mark.requires("root", "device_rules")
ALLOWED = {"1:3": "null", "1:5": "zero", "1:7": "full", "1:8": "random", "1:9": "urandom", "5:0": "tty", "5:2": "ptmx"}
ALLOWED |= {"136:0": "pts/0", "136:77": "pts/77", "10:200": "net/tun"}
RULES_OF_V1 = {"c *:* m", "b *:* m", "c 136:* rwm", *(f"c {numbers} rwm" for numbers in ALLOWED if numbers[:3] != "136")}
DENIED = {
    "c": ["1:1", "1:2", "1:4", "1:6", "1:11", "4:0", "4:1", "4:64", "5:1", "5:3", "7:0", "10:1", "10:229", "10:232", "29:0"],
    "b": ["1:0", "1:3", "5:0", "7:0", "8:0", "136:0", "254:0"],
}


@pytest.fixture
def allowed_to_make_nodes(bundle):
    """A container as Podman and Docker make it: everything denied, the capability granted."""
    bundle.capabilities("CAP_MKNOD", "CAP_DAC_OVERRIDE")
    bundle.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    return bundle


def open_each(runtime, bundle, kind, devices, mode):
    """Make a node of each device and open it; return the errno of each, 0 for success."""
    verbs = []
    for index, device in enumerate(devices):
        major, minor = device.split(":")
        verbs += [["mknod", f"/tmp/{index}", kind, major, minor], ["open", f"/tmp/{index}", mode]]
    lines = runtime.probe(bundle, *verbs)
    assert {line["errno"] for line in lines[::2]} == {0}, "every node can be made"
    return {device: line["errno"] for device, line in zip(devices, lines[1::2], strict=True)}


@pytest.mark.parametrize("mode", ["r", "w"])
@pytest.mark.parametrize("kind", ["b", "c"])
def test_other_devices_cannot_be_opened(runtime, allowed_to_make_nodes, kind, mode):
    found = open_each(runtime, allowed_to_make_nodes, kind, DENIED[kind], mode)
    assert found == dict.fromkeys(DENIED[kind], errno.EPERM)


def test_default_devices_can_be_opened(runtime, allowed_to_make_nodes):
    """Or fail for a reason of the device: there is no terminal, no such pts, no tun driver."""
    found = open_each(runtime, allowed_to_make_nodes, "c", list(ALLOWED), "rw")
    assert errno.EPERM not in found.values(), found


@pytest.mark.requires("devices")
def test_the_list_in_force(runtime, allowed_to_make_nodes):
    container = runtime.create(allowed_to_make_nodes)
    listed = (membership(container.init)["devices"] / "devices.list").read_text().splitlines()
    assert set(listed) == RULES_OF_V1
