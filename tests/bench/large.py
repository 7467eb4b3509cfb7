"""How long `run` takes with a large configuration: many mounts, environment variables or annotations."""

from typing import Any

from tests.bench.runtimes import Bench, Runtime, make_bundle, table

MOUNTS, VARIABLES, ANNOTATIONS = 300, 10_000, 30_000


def measure_mounts(bench: Bench) -> str:
    """Measure a bundle with 300 tmpfs mounts."""
    mounts = [
        {"destination": f"/tmp/{i}", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=64k"]}
        for i in range(MOUNTS)
    ]
    return measure(bench, f"run, {MOUNTS} mounts", mounts=mounts)


def measure_environment(bench: Bench) -> str:
    """Measure a bundle with 10,000 environment variables."""
    return measure(bench, f"run, {VARIABLES} variables", env=[f"VARIABLE_{i}=value" for i in range(VARIABLES)])


def measure_annotations(bench: Bench) -> str:
    """Measure a bundle with 30,000 annotations."""
    annotations = {f"org.example.annotation.{i}": f"value {i}" for i in range(ANNOTATIONS)}
    return measure(bench, f"run, {ANNOTATIONS} annotations", annotations=annotations)


def measure(bench: Bench, what: str, **more: Any) -> str:
    """Let each runtime run the container of such a bundle, and an ordinary one."""
    bundle = make_bundle(bench.scratch / what.replace(" ", "-"), ["/bin/true"], bench.scratch / "rootfs", **more)

    def turn(runtime: Runtime) -> None:
        runtime.time("run", "--bundle", str(bench.scratch / "true"), runtime.container)
        runtime.time("run", "--bundle", str(bundle), runtime.container, what=what)

    bench.take_turns(turn)
    return table(bench.runtimes, "ms")
