"""A plugin of pytest for emulated machines: what cannot be there is skipped, with its reason, and nothing is timed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# reason -> beginnings of test ids
SKIPPED: dict[str, tuple[str, ...]] = {
    "the client in C is compiled for this machine, and its Python is of another": (
        "tests/link/test_c_client.py",
        "tests/link/test_c_datagrams.py",
        "tests/link/test_c_discovery.py",
        "tests/link/test_c_example.py",
        "tests/link/test_c_packets.py",
        "tests/link/test_c_programs.py",
        "tests/link/test_c_vectors.py",
        "tests/link/test_dump_c_client.py",
        "tests/link/test_links_fuzz.py",
        "tests/netsim/test_c_client.py",
    ),
    "network namespaces with real time in them": (
        "tests/box/test_unplugged.py",
        "tests/device/test_service.py::test_players_come_in_as_soon_as_the_address_is_there",
        "tests/discovery/test_lan.py",
        "tests/link/test_namespaces.py",
        "tests/netsim/test_network.py",
    ),
    "the emulator has no seccomp, no landlock and no memory of its own to be locked": (
        "tests/device/test_contained_server.py",
        "tests/device/test_containment.py",
        "tests/device/test_linux.py",
        "tests/device/test_settings.py",
    ),
    "the emulator traces no threads": (
        "tests/device/test_service.py::test_signs_of_life_end_with_the_loop_though_other_threads_go_on",
    ),
    "what it measures is the emulator: its memory, its time": (
        "tests/benchmarks",
        "tests/box/test_promise.py",
        "tests/box/test_strain.py::test_the_memory_is_nearly_used_up",
        "tests/device/test_readings.py::test_processor_time_is_what_psutil_says",
        "tests/cli/test_script_run.py::test_what_takes_too_much_is_stopped_and_at_last_switched_off",
        "tests/docs/test_scripts.py::test_commands_print_what_is_shown[budgets, status 1]",
        "tests/links/test_memory.py",
        "tests/scripts/test_host.py::test_figures",
        "tests/scripts/test_meter_memory.py",
        "tests/sessions/test_bystanders.py",
        "tests/sessions/test_faults.py::test_a_flood_over_a_websocket_is_slowed_down_without_loss",
        "tests/sessions/test_scripted_sessions.py::test_a_script_that_is_off_and_the_game_goes_on",
        "tests/test_profile_boards.py::test_a_server_for_512_mb_takes_16_sessions_of_8_and_no_more",
    ),
    "more programs one after the other than an emulated machine starts in the time there is": (
        "tests/docs/test_readme.py::test_a_server_starts_with_a_profile_of_ones_own",
        "tests/docs/test_readme.py::test_commands_run_as_they_stand",
    ),
    "the emulator starts a program before it looks whether that is there": (
        "tests/test_children.py::test_without_a_python_there_is_an_error",
        "tests/transports/test_certificate.py::test_missing_openssl_says_how_to_get_it",
    ),
    "it drives this machine's own tools: systemd, dpkg, a compiler": (
        "tests/packaging",
        "tests/test_system_packages.py",
    ),
    "hours of emulated work that is the same on every machine": (
        "tests/link/test_dump_soak.py",
        "tests/scripts/test_corpus.py",
        "tests/scripts/test_fuzz.py",
    ),
}

EXAMPLES_MAX = 25
HYPOTHESIS_SETTINGS = "_hypothesis_internal_use_settings"

settings.register_profile(
    "emulated", deadline=None, suppress_health_check=list(HealthCheck), max_examples=EXAMPLES_MAX, database=None
)
settings.load_profile("emulated")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for reason, beginnings in SKIPPED.items():
            if item.nodeid.startswith(beginnings):
                item.add_marker(pytest.mark.skip(reason=reason))
        fewer_examples(getattr(item, "obj", None))


def fewer_examples(test: object) -> None:
    """Hypothesis keeps what @settings says in that attribute of the function. The examples are for this machine's own
    Python to find; here is seen that the same comes out elsewhere."""
    function = getattr(test, "__func__", test)
    said = getattr(function, HYPOTHESIS_SETTINGS, None)
    if isinstance(said, settings) and said.max_examples > EXAMPLES_MAX:
        setattr(function, HYPOTHESIS_SETTINGS, settings(said, max_examples=EXAMPLES_MAX))
