# The extension has no source for type checkers: native/build.py generates it from plan.h and native/ext/*.h.
from typing import Any

ffi: Any
lib: Any
