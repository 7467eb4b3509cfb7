"""Run bundles/hello and say how long each verb took: ``python bundles/demo.py RUNTIME``.

Without root the container gets a user namespace in which the caller is root.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BUNDLES = Path(__file__).resolve().parent
NAME = f"hello-{os.getpid()}"


def rootless(source: Path, target: Path) -> Path:
    """Copy the bundle and map the caller to root in it."""
    shutil.copy(source / "hello", target)
    config = json.loads((source / "config.json").read_text())
    config["root"]["path"] = str(source / "rootfs")
    linux = config["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    (target / "config.json").write_text(json.dumps(config))
    return target


def call(runtime: list[str], verb: str, *arguments: str, output: int | None = None) -> float:
    """Run one verb; give its milliseconds."""
    begin = time.perf_counter()
    status = subprocess.run(
        [*runtime, verb, *arguments, NAME], stdin=subprocess.DEVNULL, stdout=output, check=False
    )
    elapsed = (time.perf_counter() - begin) * 1000
    if status.returncode:
        subprocess.run([*runtime, "delete", "--force", NAME], check=False)
        raise SystemExit(status.returncode)
    return elapsed


def main() -> None:
    """Create, start, read what the container says until it ends, delete."""
    runtime = [os.path.abspath(sys.argv[1])]
    bundle = BUNDLES / "hello"
    subprocess.run([BUNDLES / "rootfs", bundle / "rootfs"], check=True)
    with tempfile.TemporaryDirectory(prefix="pyoci-demo-") as scratch:
        if os.geteuid() != 0:
            bundle = rootless(bundle, Path(scratch))
        runtime += ["--root", str(Path(scratch) / "state")]
        reader, writer = os.pipe()
        create = call(runtime, "create", "--bundle", str(bundle), output=writer)
        os.close(writer)
        start = call(runtime, "start")
        # The container holds the only other end, so end of file is the end of the container.
        with open(reader) as said:
            sys.stdout.write(said.read())
        delete = call(runtime, "delete", "--force")
    print(f"create {create:.1f} ms, start {start:.1f} ms, delete {delete:.1f} ms")


if __name__ == "__main__":
    main()
