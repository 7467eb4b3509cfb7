"""What the tests of other machines share."""

import os

# These tests are for the virtual machine itself, where tests/vm/test_uml.py starts them.
collect_ignore = [] if os.environ.get("PYOCI_TEST_PLACE") == "uml" else ["inside"]
if os.environ.get("PYOCI_TEST_PLACE"):
    collect_ignore += ["test_initramfs.py", "test_uml.py", "test_v2view.py"]
