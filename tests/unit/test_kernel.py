"""What is demanded of the kernel: the numbers of a release, and the floor."""

import pytest

from pyoci.errors import Error
from pyoci.kernel import require_version, version


@pytest.mark.parametrize(
    ("release", "numbers"),
    [
        ("5.14.0-427.el9.x86_64", (5, 14)), ("6.1.0-18-amd64", (6, 1)), ("6.18", (6, 18)), ("5.14-rc1", (5, 14)),
        ("5.4.0", (5, 4)), ("4.18.0-513.el8", (4, 18)), ("2.6.78", (2, 6)), ("6", (6, 0)), ("6-custom", (6, 0)),
        ("10.0.1", (10, 0)), ("", (0, 0)), ("x.y", (0, 0)), ("5.\u0661", (5, 0)),
    ],
)  # fmt: skip
def test_version(release: str, numbers: tuple[int, int]) -> None:
    assert version(release) == numbers


@pytest.mark.parametrize("release", ["5.14.0", "5.14-rc1", "5.15.3", "6.0", "10.1.0"])
def test_new_enough(release: str) -> None:
    require_version(release)


@pytest.mark.parametrize("release", ["5.13.19", "5.4.0-150-generic", "4.18.0-513.el8", "3.10.0", "what"])
def test_too_old(release: str) -> None:
    with pytest.raises(Error) as caught:
        require_version(release)
    assert str(caught.value) == f"pyoci needs Linux 5.14 or later; this is Linux {release}"
