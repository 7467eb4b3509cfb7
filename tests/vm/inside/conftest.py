"""The fixtures of the runtime tier, for the tests that only run inside the virtual machine."""

from tests.runtime.conftest import bundle, bundles, own_mounts, probe, runtime, scratch

__all__ = ["bundle", "bundles", "own_mounts", "probe", "runtime", "scratch"]
