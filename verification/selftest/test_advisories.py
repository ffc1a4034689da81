"""An audit that could audit nothing says so."""

from __future__ import annotations

import json

from verification.selftest.advisories import read_audit


def test_a_package_without_an_answer_is_unknown_rather_than_clean() -> None:
    answer = json.dumps({"dependencies": [{"name": "httpx", "skip_reason": "no database"}]})

    audit = read_audit(answer)

    assert (audit.audited, audit.unknown) == ([], ["httpx"])


def test_a_known_vulnerability_is_named_with_its_package() -> None:
    row = {"name": "redis", "version": "4.5.1", "vulns": [{"id": "CVE-2023-28858"}]}

    audit = read_audit(json.dumps({"dependencies": [row]}))

    assert audit.vulnerable == ["redis 4.5.1: CVE-2023-28858"]


def test_no_answer_at_all_audits_nothing() -> None:
    audit = read_audit("")

    assert (audit.audited, audit.vulnerable) == ([], [])
