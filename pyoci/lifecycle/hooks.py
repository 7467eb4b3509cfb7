"""The hooks that run in the runtime's namespaces; config.md#posix-platform-hooks.

These are prestart, createRuntime, poststart and poststop; the others run inside the container.
"""

from collections.abc import Callable
from typing import Any

from pyoci import codec, programs
from pyoci.config.model import Config
from pyoci.errors import HookError, errno_text
from pyoci.programs import ended, printed
from pyoci.signals import Signals

DURING_CREATE = ("prestart", "createRuntime")


def run(
    config: Config,
    name: str,
    state: dict[str, Any],
    signals: Signals,
    started: Callable[[int], None] | None = None,
) -> None:
    """Run the hooks of one list in order, each with the state on its standard input.

    Raises:
        HookError: one failed or ran out of time; those behind it are not run.
        Interrupted: a signal has arrived; the hook was killed.
    """
    for problem in failures(config, name, state, signals, started):
        raise problem


def failures(
    config: Config,
    name: str,
    state: dict[str, Any],
    signals: Signals,
    started: Callable[[int], None] | None = None,
) -> list[HookError]:
    """Run the hooks of one list; of poststop all of them, whatever fails, of the others up to the first failure.

    A hook gets the environment that the configuration lists and nothing else; a timeout or a signal kills its whole
    process group.  Hooks of create die with us, as all that a create has made is given up then.  started is called
    with the pid of each.

    Raises:
        Interrupted: a signal has arrived; the hooks behind that one are not run.
    """
    found: list[HookError] = []
    text = codec.dumps(state).encode()
    for index, hook in enumerate(getattr(config.hooks, name)):
        what = f"the {name} hook {hook.path}"
        origin = f"/hooks/{name}/{index}"
        try:
            status, output = programs.run_program(
                hook.path,
                list(hook.args or [hook.path]),
                list(hook.env or ()),
                text,
                timeout=hook.timeout,
                bound=name in DURING_CREATE,
                signals=signals,
                started=started,
            )
        except programs.ProgramTimeout as timeout:
            found.append(HookError(f"{what} ran out of its {hook.timeout} s and was killed", origin, str(timeout)))
        except OSError as error:
            found.append(HookError(f"{what} cannot be run: {errno_text(error.errno or 0)}", origin))
        else:
            if status != 0:
                found.append(HookError(f"{what} {ended(status)}", origin, printed(output)))
        if found and name != "poststop":
            break
    return found
