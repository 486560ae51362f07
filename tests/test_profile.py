"""Firmware profiles: what stands in them, and what every mistake in one is told."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.support.reproducible  # noqa: F401 - importing it is what sets it
from gsrt.device import model
from gsrt.profile import LIMITS, ORDER, Profile, ProfileError, _read, available

GENERIC = Path(__file__).parent.parent / "firmware_profiles" / "generic.toml"


def generic_values() -> dict[str, Any]:
    return tomllib.loads(GENERIC.read_text())


def test_generic_has_the_values_it_is_documented_with() -> None:
    profile = Profile.load("generic")
    assert profile.name == "generic"
    assert {key: getattr(profile, key) for key in LIMITS} == {
        "sessions_max": 256,
        "players_per_session_max": 64,
        "players_max": 2048,
        "connections_max": 4096,
        "pending_connections_max": 1024,
        "pending_per_address_max": 256,
        "packets_per_second": 50_000,
        "packets_burst": 5_000,
        "bytes_per_second": 16_000_000,
        "bytes_burst": 2_000_000,
        "packet_bytes_max": 16_000,
        "datagram_bytes_max": 1024,
        "frame_skip_bytes_max": 1_048_576,
        "login_bytes_max": 2048,
        "held_bytes_max": 65_536,
        "stream_out_soft_bytes": 131_072,
        "stream_out_hard_bytes": 1_048_576,
        "link_message_bytes_max": 262_144,
        "link_out_bytes": 1_048_576,
        "link_receive_bytes": 393_216,
        "link_receive_bytes_all": 16_777_216,
        "link_logins_per_turn": 8,
        "login_seconds": 10.0,
        "grace_seconds": 3.0,
        "session_linger_seconds": 300.0,
        "session_unused_seconds": 3600.0,
        "udp_hello_interval_seconds": 0.25,
        "udp_hello_attempts": 20,
        "keepalive_idle_seconds": 10,
        "keepalive_interval_seconds": 5,
        "keepalive_probes": 3,
        "user_timeout_seconds": 25.0,
        "udp_receive_buffer_bytes": 4_194_304,
        "udp_send_buffer_bytes": 4_194_304,
        "tcp_receive_buffer_bytes": 0,
        "tcp_send_buffer_bytes": 0,
        "datagram_batches_max": 16,
        "tick_ms": 0.0,
        "malloc_arenas": 0,
        "timer_slack_us": 0,
        "script_gas": 200_000,
        "script_cpu_ms": 30,
        "script_memory_bytes": 8 << 20,
        "script_source_bytes": 65_536,
        "script_packet_bytes_max": 16_000,
        "script_strikes": 3,
        "script_turn_ms": 10.0,
        "script_turn_all_ms": 30.0,
        "script_watchdog_seconds": 2.0,
        "script_timers_max": 64,
        "script_timer_ms_min": 5.0,
        "script_sends_max": 256,
        "script_send_bytes_max": 1 << 20,
        "script_requests_max": 64,
        "script_off_op_code": 0,
        "script_reload_seconds": 1.0,
        "script_trial_packets": 32,
        "script_log_lines_per_second": 20.0,
        "script_log_characters_max": 1024,
        "script_log_ring_lines": 1000,
        "platform_message_bytes_max": 65_536,
        "platform_messages_per_second": 50.0,
        "platform_messages_burst": 200,
        "platform_silence_seconds": 180.0,
        "platform_devices_max": 8,
        "requests_waiting_max": 64,
        "away_seconds": 10.0,
        "password_memory_kb": 16_384,
        "password_passes": 2,
        "new_players_per_address": 100,
        "new_players_per_address_per_hour": 100.0,
        "login_failures_max": 5,
        "login_lock_seconds": 60.0,
        "auth_tokens_per_player_max": 16,
        "store_batch_ms": 20.0,
        "store_batch_writes": 256,
        "store_waiting_max": 4096,
        "tickets_max": 10_000,
        "document_bytes_max": 65_536,
        "documents_per_owner_max": 1000,
        "messages_per_player_max": 100,
        "leaderboard_page_max": 100,
        "log_rows_max": 10_000,
        "game_reload_seconds": 1.0,
        "www_downloads_max": 64,
        "www_downloads_per_address_max": 32,
        "www_stall_seconds": 30.0,
        "control_clients_max": 16,
        "control_line_bytes_max": 65_536,
        "control_idle_seconds": 30.0,
        "memory_bytes_max": 256 << 20,
        "memory_slow_percent": 80,
        "memory_refuse_percent": 90,
        "free_memory_bytes_min": 32 << 20,
        "temperature_slow_celsius": 80.0,
        "temperature_refuse_celsius": 90.0,
        "loop_lag_slow_ms": 100.0,
        "loop_lag_refuse_ms": 1000.0,
        "cpu_slow_percent": 90,
        "disk_free_bytes_min": 64 << 20,
        "disk_bytes_per_hour": 64 << 20,
        "slow_tick_ms": 20.0,
        "slow_script_percent": 50,
        "slow_store_factor": 10,
        "governor_seconds": 1.0,
        "log_lines_per_second": 50.0,
        "log_lines_burst": 1000,
        "worker_waiting_max": 64,
        "beacon_seconds": 5.0,
    }


@pytest.mark.parametrize("path", sorted(GENERIC.parent.glob("*.toml")), ids=lambda path: path.stem)
def test_every_profile_that_comes_with_gsrt_is_toml_and_loads_by_its_name(path: Path) -> None:
    assert tomllib.loads(path.read_text()) == _read(str(path))
    assert Profile.load(path.stem).name == path.stem
    assert path.stem in available()


def test_schema_and_attributes_are_the_same_list_with_the_same_types() -> None:
    annotations = {key: kind for key, kind in Profile.__annotations__.items() if key not in ("name", "chosen")}
    assert annotations == {key: type(bounds[0]).__name__ for key, bounds in LIMITS.items()}
    assert all(type(smallest) is type(largest) and smallest < largest for smallest, largest in LIMITS.values())


def test_seconds_are_floats_and_counts_are_ints_however_they_are_written() -> None:
    profile = Profile({**generic_values(), "grace_seconds": 2, "tick_ms": 2.5})
    assert type(profile.grace_seconds) is float
    assert profile.tick_ms == 2.5
    assert type(profile.sessions_max) is int


@pytest.mark.parametrize("end", [0, 1], ids=["smallest", "largest"])
def test_both_ends_of_every_range_are_inside(end: int) -> None:
    values = {key: bounds[end] for key, bounds in LIMITS.items()}
    profile = Profile(values)
    assert {key: getattr(profile, key) for key in LIMITS} == values


@pytest.mark.parametrize("key", LIMITS)
def test_beyond_either_end_a_value_is_refused(key: str) -> None:
    smallest, largest = LIMITS[key]
    step = 1 if isinstance(smallest, int) else 0.001
    for value in (smallest - step, largest + step):
        with pytest.raises(ProfileError, match=rf"^some\.toml: {key} is .*; expected a (whole )?number from .* to "):
            Profile({**generic_values(), key: value}, source="some.toml")


@pytest.mark.parametrize("value", ["64", True, None, [1], 64.0, float("nan")])
def test_a_count_that_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(ProfileError, match=r"sessions_max is .*; expected a whole number from 1 to 65535"):
        Profile({**generic_values(), "sessions_max": value})


@pytest.mark.parametrize("value", ["3", False, float("nan"), float("inf"), -1])
def test_seconds_that_are_no_sensible_number_are_refused(value: object) -> None:
    with pytest.raises(ProfileError, match=r"grace_seconds is .*; expected a number from 0\.0 to 3600\.0"):
        Profile({**generic_values(), "grace_seconds": value})


def test_an_unknown_key_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ProfileError, match="unknown key 'session_max'; a profile holds sessions_max, "):
        Profile({**generic_values(), "session_max": 1})


@pytest.mark.parametrize("key", LIMITS)
def test_a_missing_key_is_refused(key: str) -> None:
    values = generic_values()
    del values[key]
    with pytest.raises(ProfileError, match=f"{key} is missing; expected a"):
        Profile(values)


@pytest.mark.parametrize(("smaller", "larger"), ORDER)
def test_values_that_contradict_each_other_are_refused(smaller: str, larger: str) -> None:
    values = generic_values()
    values[larger] = max(LIMITS[larger][0], LIMITS[smaller][0])
    values[smaller] = values[larger] + 1
    with pytest.raises(ProfileError, match="expected at most"):
        Profile(values)


def test_a_path_is_read_as_a_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(GENERIC.read_text().replace("sessions_max = 256", "sessions_max = 7"))
    profile = Profile.load(str(mine))
    assert (profile.name, profile.sessions_max) == ("mine", 7)


def test_a_bare_file_name_ending_in_toml_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text(GENERIC.read_text())
    monkeypatch.chdir(tmp_path)
    assert Profile.load("mine.toml").name == "mine"


def test_an_unknown_name_is_told_which_there_are() -> None:
    with pytest.raises(ProfileError, match=r"there is no profile 'pdp11'; there are .*generic.*\.toml file"):
        Profile.load("pdp11")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n# a comment\nsessions_max = ", "line 3 is 'sessions_max ='; expected `key = number`"),
        (b"sessions_max = 1 # first\nsessions_max = 1\n", "line 2 sets sessions_max a second time"),
        (b"\xff\xfe", "not a text file"),
        (b"[limits]\nsessions_max = 1\n", r"line 1 is '\[limits\]'; expected `key = number`"),
        (b"sessions_max 1\n", "line 1 is 'sessions_max 1'"),
        (b"= 1\n", "line 1 is '= 1'"),
        (b"session_max = 1\n", "unknown key 'session_max'"),
        (b"", "sessions_max is missing"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_bytes(content)
    with pytest.raises(ProfileError, match=message) as caught:
        Profile.load(str(broken))
    assert str(broken) in str(caught.value)


@given(
    st.from_regex(r"[-+0-9._eE]{1,7}", fullmatch=True) | st.text(st.characters(exclude_categories=["C"]), max_size=4)
)
def test_a_number_that_is_taken_is_the_one_toml_means(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "number.toml"
    path.write_text(f"number = {text}\n")
    try:
        values = _read(str(path))
    except ProfileError:
        return
    assert repr(values) == repr(tomllib.loads(path.read_text()))


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("65536", 65536), ("65_536", 65536), ("0.25", 0.25), ("1_0.5_0", 10.5), ("3.0", 3.0)]
)
def test_numbers_are_written_as_in_toml(tmp_path: Path, text: str, value: float) -> None:
    path = tmp_path / "number.toml"
    path.write_text(f"  number={text}  # and why\n")
    assert _read(str(path)) == {"number": value} == tomllib.loads(path.read_text())


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"nowhere\.toml: cannot be read: No such file"):
        Profile.load(str(tmp_path / "nowhere.toml"))
    with pytest.raises(ProfileError, match="cannot be read: Is a directory"):
        Profile.load(f"{tmp_path}/")


def test_auto_is_the_profile_that_suits_the_box_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "choose_here", lambda: ("pi-4", "this is a Raspberry Pi 4 Model B Rev 1.4"))
    profile = Profile.load("auto")
    assert (profile.name, profile.chosen) == ("pi-4", "this is a Raspberry Pi 4 Model B Rev 1.4")
    assert profile.sessions_max == Profile.load("pi-4").sessions_max
    assert Profile.load("pi-4").chosen == ""


def test_auto_knows_only_profiles_that_there_are() -> None:
    named = {name for _, name, _ in model.BOARDS} | set(model.PROMISES)
    assert named <= set(available())
    assert set(available()) == set(model.PROMISES)
