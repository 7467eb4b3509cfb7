"""The fixtures of the runtime tier: an attack is a container like any other, run by OCI_RUNTIME or by pyoci."""

from tests.runtime.conftest import (
    bundle,
    bundles,
    one_file,
    own_mounts,
    probe,
    pyoci_alone,
    pytest_collection_modifyitems,
    runtime,
    scratch,
    source,
    tree,
)

__all__ = [
    "bundle",
    "bundles",
    "one_file",
    "own_mounts",
    "probe",
    "pyoci_alone",
    "pytest_collection_modifyitems",
    "runtime",
    "scratch",
    "source",
    "tree",
]
