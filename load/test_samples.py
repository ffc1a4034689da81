"""Samples: written line by line, merged without loss, contradictions found."""

from __future__ import annotations

from pathlib import Path

import pytest

from load.known_truths import answered, failed, traffic
from load.samples import (
    SUFFIX,
    Beat,
    Begin,
    End,
    Line,
    Outcome,
    Ping,
    Recorder,
    Recording,
    SampleError,
    decode,
    encode,
    read,
)
from load.schedule import arrivals

ARRIVALS = list(arrivals(traffic(5.0)))
LINES: list[Line] = [
    Begin(number=0, of=1, plan="p", started=1.0),
    answered(ARRIVALS[0]),
    failed(ARRIVALS[1], "internal_error", 500),
    Beat(at_s=1.0, wall_s=2.0, cpu_s=0.5, late_s=0.0),
    Ping(at_s=1.0, took_s=0.001),
    End(at_s=6.0, requests=2, stopped="by hand", stopped_s=3.0),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_a_line_is_read_as_it_was_written(line: Line) -> None:
    found = decode(encode(line))

    assert encode(found) == encode(line)
    assert type(found) is type(line)


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"type":"sample"}', '{"type":"nothing"}', '["type"]', '{"type":"ping","x":1}'],
)
def test_a_line_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(SampleError, match="expected a line of samples"):
        decode(text)


def written(folder: Path, name: str, lines: list[Line]) -> None:
    recorder = Recorder(folder, name)
    for line in lines:
        recorder.add(line)
    recorder.close()


def test_files_of_several_generators_are_merged_without_loss(tmp_path: Path) -> None:
    for number in range(3):
        mine = [answered(one) for one in ARRIVALS if one.index % 3 == number]
        written(tmp_path, f"generator-{number}", [*mine])

    found = read(tmp_path)

    assert sorted(found.samples) == [one.index for one in ARRIVALS]
    assert sorted(found.generators) == ["generator-0", "generator-1", "generator-2"]


def test_lines_that_a_master_has_too_count_once(tmp_path: Path) -> None:
    written(tmp_path, "generator-0", LINES)
    written(tmp_path, "generator-0", LINES)

    found = read(tmp_path)

    assert len(found.samples) == 2
    assert [len(one.beats) for one in found.generators.values()] == [1]


def test_two_different_lines_about_one_request_are_an_error() -> None:
    recording = Recording()
    recording.add("generator-0", [answered(ARRIVALS[0])])

    with pytest.raises(SampleError, match="request 0: two different samples"):
        recording.add("generator-1", [answered(ARRIVALS[0], took_s=9.0)])


def test_a_last_line_that_was_cut_off_is_left_out_and_said(tmp_path: Path) -> None:
    written(tmp_path, "generator-0", LINES)
    path = tmp_path / f"generator-0{SUFFIX}"
    path.write_text(path.read_text() + '{"type":"sample","ind')

    found = read(tmp_path)

    assert (found.torn, len(found.samples)) == (1, 2)


def test_a_line_in_the_middle_that_is_none_is_an_error_with_its_place(tmp_path: Path) -> None:
    (tmp_path / f"generator-0{SUFFIX}").write_text(f"{encode(LINES[0])}\nnonsense\n")

    with pytest.raises(SampleError, match=r"generator-0\.samples\.jsonl, line 2"):
        read(tmp_path)


def test_what_was_not_taken_is_not_on_the_disk_and_what_was_is(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "generator-0")
    recorder.add(LINES[1])
    recorder.append(recorder.take())
    recorder.add(LINES[2])

    assert [one.outcome for one in read(tmp_path).samples.values()] == [Outcome.OK]
    recorder.close()
