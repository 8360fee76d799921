import pytest

from bridge.image import sandbox

GIB = 1 << 30


def option(name: str, memory: int, cpus: int) -> str:
    options = sandbox.options(memory, cpus, root=False)
    return options[options.index(name) + 1]


@pytest.mark.parametrize(("machine", "limit"), [(16 * GIB, 15 * GIB), (2 * GIB, GIB), (GIB, GIB // 2)])
def test_a_container_has_the_memory_of_the_machine_less_a_reserve_and_no_swap(machine: int, limit: int) -> None:
    assert int(option("--memory", machine, 4)) == int(option("--memory-swap", machine, 4)) == limit


@pytest.mark.parametrize(("cpus", "limit"), [(64, 63.5), (2, 1.5), (1, 0.5)])
def test_a_container_has_the_cpus_of_the_machine_less_a_reserve(cpus: int, limit: float) -> None:
    assert float(option("--cpus", 8 * GIB, cpus)) == limit


def test_no_container_has_a_capability_but_those_that_nginx_needs_as_root() -> None:
    for root in (False, True):
        options = sandbox.options(8 * GIB, 4, root=root)
        assert options[options.index("--cap-drop") + 1] == "ALL"
        added = [option for option in options if option.startswith("--cap-add")]
        assert added == (["--cap-add=CHOWN", "--cap-add=SETGID", "--cap-add=SETUID"] if root else [])
        assert options[options.index("--user") + 1] == ("0:0" if root else "10001:10001")
